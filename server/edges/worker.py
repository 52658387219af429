"""A serving process: one event loop, one edge, the newest models, a connection to the journal's writer."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
import time
from typing import TYPE_CHECKING

import structlog

from server.journal.client import JournalClient
from server.serving.admin import AdminService
from server.serving.admission import Admission
from server.serving.models import Models
from server.serving.service import DecisionService

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.config import Config
    from server.edges.methods import Edge
    from server.files import DataFolder
    from server.redis.lookup import Lookup

log = structlog.get_logger("worker")

# Seconds for which a worker waits for a model of the configuration's own epoch before it serves the one of
# the epoch before: a learner with a long backlog opens the new epoch only when it has caught up.
_EPOCH_SECONDS = 3.0
# New objects between two looks for cycles among them (Python: 700). grpc makes five such objects a call; a look at 2,000 takes .3 ms, at
# most 1, in which no call is answered.
_GC_OBJECTS = 2_000
# Seconds for which a worker waits for the shipper's first look at Kafka, which takes one where Kafka is there.
_CHECK_SECONDS = 10.0


# Seconds between two probes of how long calls wait: 20 a second, each of which costs about as much as a call's transport.
_PROBE_SECONDS = 0.05
# Seconds after which a probe is given up.
_PROBE_LONGEST = 30.0


def _now_us() -> int:
    return time.time_ns() // 1_000


async def serve_grpcio(config: Config, folder: DataFolder, name: str, port: int) -> None:
    """Serves by grpc.aio until SIGTERM, or until the supervisor is gone; then finishes running calls and returns."""
    from server.edges.grpc_edge import GrpcEdge  # loads grpc, which the other edge does without

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C: the supervisor decides
    stop_with_supervisor(stopping)
    await serve(
        config,
        folder,
        stopping,
        lambda decisions, admin: GrpcEdge(
            config.server, port, decisions, admin, folder.admin_socket(name)
        ),
    )


def stop_with_supervisor(stopping: asyncio.Event) -> None:
    """Sets the event when the supervisor is gone: it holds the other end of standard input."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(sys.stdin.fileno())
        stopping.set()

    loop.add_reader(sys.stdin.fileno(), ended)


async def serve(
    config: Config,
    folder: DataFolder,
    stopping: asyncio.Event,
    make_edge: Callable[[DecisionService | None, AdminService], Edge],
) -> None:
    """Serves until it is told to stop; then finishes running calls and returns.

    Args:
        make_edge: makes the way in, for these services; without the first where this worker answers operators only.
    """
    apps = sorted(config.apps)
    models = Models(folder, apps, config.server.poll.total_seconds())
    journal = JournalClient(
        folder.socket,
        config.server.journal_timeout.total_seconds(),
        wait_shipped=bool(config.kafka.bootstrap) and config.kafka.ack == "kafka",
    )
    lookup = _lookup(config)
    async with asyncio.TaskGroup() as background:
        async with asyncio.TaskGroup() as late:
            admission = Admission(config.server.max_delay.total_seconds())
            decisions = DecisionService(
                config, models, journal, late, _now_us, lookup, admission.asked
            )
            admin = AdminService(config, folder, decisions, journal, _now_us)
            # A learner's worker answers operators only.
            edge = make_edge(decisions if config.server.role != "learner" else None, admin)
            running = [
                background.create_task(models.run()),
                background.create_task(journal.run()),
            ]
            if lookup is not None:
                running.append(background.create_task(lookup.run()))
            await _journal_checked(config, folder, stopping)
            gc.set_threshold(_GC_OBJECTS)
            await edge.start()
            # Not before: the edge starts as one that does not serve, and changes alone are told.
            watching = [
                background.create_task(_report_health(config, models, journal, edge)),
                background.create_task(_measure(edge, admission)),
            ]
            await stopping.wait()
            log.info("draining")
            for task in watching:
                task.cancel()
            await edge.stop()
        for task in running:
            task.cancel()
    log.info("stopped")


def _lookup(config: Config) -> Lookup | None:
    """What other servers have decided, where there are any."""
    if not config.redis.url or config.server.role == "learner":
        return None
    from server.redis.lookup import Lookup  # loads the library, which others need not

    return Lookup(config.redis)


async def _journal_checked(config: Config, folder: DataFolder, stopping: asyncio.Event) -> None:
    """Waits until the shipper knows that this journal goes on where Kafka has it.

    A journal that was restored from an old backup must not take a single record: nobody would ever fold it. While Kafka is
    away that cannot be known, and a service must start all the same.
    """
    if not config.kafka.bootstrap:
        return
    until = time.monotonic() + _CHECK_SECONDS
    while time.monotonic() < until and not stopping.is_set():
        try:
            if json.loads(folder.shipped.read_bytes())["checked"]:
                return
        except (FileNotFoundError, ValueError):
            pass  # not written yet
        await asyncio.sleep(config.server.poll.total_seconds())
    log.warning("serving, though Kafka has not told yet whether this journal is the newest one")


async def _report_health(
    config: Config, models: Models, journal: JournalClient, edge: Edge
) -> None:
    """SERVING while there are models and a journal."""
    since: float | None = None
    serving = False
    announced = False
    while True:
        if models.complete and since is None:
            since = time.monotonic()
        current = since is not None and (
            announced or _current(config, models) or time.monotonic() - since > _EPOCH_SECONDS
        )
        now = current and journal.connected
        if now != serving:
            serving = now
            if now and not announced:
                gc.freeze()  # what was loaded until now stays; to look through it takes 50 ms
            await edge.set_serving(now)
            log.info("serving" if now else "not serving")
            announced = announced or now
        await asyncio.sleep(config.server.poll.total_seconds())


async def _measure(edge: Edge, admission: Admission) -> None:
    """Measures, while there are calls, how long one has to wait for its turn."""
    seen = 0
    while True:
        await asyncio.sleep(_PROBE_SECONDS)
        if admission.calls == seen and not admission.busy:
            continue
        seen = admission.calls
        admission.sent()
        try:
            async with asyncio.timeout(_PROBE_LONGEST):
                await edge.turn()
        except TimeoutError:
            pass  # it has been waiting for so long that all are refused
        finally:
            admission.answered()


def _current(config: Config, models: Models) -> bool:
    """Whether every model was made under the settings of this configuration."""
    for app in config.apps:
        served = models.get(app)
        if served is None or served.settings != config.fold_settings(app, served.settings.salt):
            return False
    return True
