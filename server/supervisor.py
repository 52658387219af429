"""`rankd serve`: starts writer, learner and workers, restarts what dies, stops everything in order.

Children hold the other end of a pipe as their standard input, so that none outlives the supervisor, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import structlog

from server.files import exclusive, replace
from server.process import EX_CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.config import Config
    from server.files import DataFolder

log = structlog.get_logger("supervisor")

# Seconds before a child that died is started again: at once after a healthy run, else doubling up to the maximum.
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0
# Seconds between two attempts to write the service's address.
_RETRY_SECONDS = 1.0
# A child that ran this long was healthy (seconds).
_HEALTHY = 10.0
# Seconds that a child may take to stop beyond its own drain time before it is killed.
_GRACE = 5.0


class PortTakenError(Exception):
    """Another program listens on the port. Stop it, or choose another port."""


def children(config: Config) -> list[list[str]]:
    """Names of the processes that make a service, in the order in which they stop.

    Whoever is later in it serves those before: what a learner writes last the writer still takes, and what the writer
    writes last the shipper still ships.
    """
    shared, role = bool(config.kafka.bootstrap), config.server.role
    # A learner's worker answers operators only.
    workers = 1 if role == "learner" else config.server.workers
    apps = len(config.learner.apps or config.apps)
    # One more than there are apps would have nothing to do.
    learners = min(config.learner.processes, apps) if role != "server" else 0
    stages = [
        [f"worker-{i}" for i in range(workers)],
        _numbered("learner", learners),
        ["relay"] if config.redis.url else [],
        _numbered("follower", learners if shared else 0),
        ["writer"],
        ["shipper"] if shared else [],
    ]
    return [stage for stage in stages if stage]


def _numbered(role: str, count: int) -> list[str]:
    return [role] if count == 1 else [f"{role}-{i}" for i in range(count)]


class Supervisor:
    """One service on one data folder."""

    def __init__(self, config: Config, folder: DataFolder) -> None:
        self._config = config
        self._folder = folder
        self._stopping = asyncio.Event()
        self._children = children(config)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._failed = False
        self._again: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Asks for an orderly stop. May be called again."""
        self._stopping.set()

    async def run(self) -> int:
        """Runs until `stop`, or until the configuration proves unusable; returns the exit code.

        Raises:
            InUseError: another service runs on this data folder.
            PortTakenError: the port is not free.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        with exclusive(self._folder.lock("supervisor")), _reserved(self._config) as port:
            self._folder.shipped.unlink(missing_ok=True)  # what an earlier run said
            config = self._config.model_dump_json().encode()
            replace(self._folder.config, config, durable=False, private=True)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._supervise("writer", port))
                await self._journal_exists()
                for stage in reversed(self._children):
                    for name in stage:
                        if name != "writer":
                            tasks.create_task(self._supervise(name, port))
                await self._announce(port)
                await self._stopping.wait()
                log.info("stopping")
                for stage in self._children:
                    await asyncio.gather(*(self._stop_child(name) for name in stage))
            self._folder.service.unlink(missing_ok=True)
        return EX_CONFIG if self._failed else 0

    async def _supervise(self, name: str, port: int) -> None:
        """Keeps one child running until the service stops."""
        delay = _FIRST_DELAY
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                process = await self._spawn(name, port)
            except OSError as error:
                # No memory, or too many processes or files: for a while, it is to be hoped.
                log.error(
                    "cannot start a process; trying again", role=name, error=str(error), delay=delay
                )
            else:
                self._processes[name] = process
                self._write_service(port)
                if self._stopping.is_set():  # asked to stop while this one was being started
                    await self._stop_child(name)
                code = await process.wait()
                if self._stopping.is_set():
                    return
                if code == EX_CONFIG:
                    self._failed = True
                    self.stop()
                    return
                if time.monotonic() - started > _HEALTHY:
                    delay = _FIRST_DELAY
                log.error("a process ended; starting it again", role=name, code=code, delay=delay)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
            delay = min(2 * delay, _LONGEST_DELAY)

    async def _spawn(self, name: str, port: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "server.process",
            name,
            str(self._folder.root),
            str(port),
            stdin=asyncio.subprocess.PIPE,
            # The supervisor's own group gets Ctrl-C; children stop when they are told to.
            start_new_session=True,
        )

    async def _stop_child(self, name: str) -> None:
        """SIGTERM, time to drain, then SIGKILL."""
        process = self._processes.get(name)
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._config.server.drain.total_seconds() + _GRACE):
                await process.wait()
        except TimeoutError:
            log.error("a process did not stop in time; killed", role=name)
            process.kill()
            await process.wait()

    async def _journal_exists(self) -> None:
        """The learner and the workers read the journal; the writer makes it."""
        while not self._stopping.is_set() and not self._folder.socket.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _announce(self, port: int) -> None:
        log.info(
            "started", address=f"{self._config.server.host}:{port}", data=str(self._folder.root)
        )

    def _write_service(self, port: int) -> None:
        pids = {name: process.pid for name, process in self._processes.items()}
        service = {
            "host": self._config.server.host,
            "port": port,
            "pids": {"supervisor": os.getpid(), **pids},
        }
        try:
            replace(self._folder.service, json.dumps(service).encode(), durable=False)
        except OSError as error:  # a full disk, say, which must not end the service
            log.error("cannot write the service's address; trying again", error=str(error))
            if self._again is not None:
                self._again.cancel()
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(_RETRY_SECONDS, self._write_service, port)


@contextlib.contextmanager
def _reserved(config: Config) -> Iterator[int]:
    """The port, kept for the workers. SO_REUSEPORT would share it silently with another server, so ask first."""
    host, port = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = (host.strip("[]"), port)
    with socket.socket(family, socket.SOCK_STREAM) as reserved:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(address)
        except OSError as error:
            raise PortTakenError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        yield reserved.getsockname()[1]
