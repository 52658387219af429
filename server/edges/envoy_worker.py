"""The worker inside Envoy: the ASGI application that pyvoy loads, by whose lifespan the worker starts and stops."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from server import logs
from server.config import Config
from server.edges.envoy_edge import EnvoyApp
from server.edges.envoy_process import WORKER
from server.edges.health import Health
from server.edges.methods import methods_of
from server.edges.worker import serve, stop_with_supervisor
from server.files import DataFolder
from server.sections import CHECKED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.edges.methods import Methods
    from server.serving.admin import AdminService
    from server.serving.service import DecisionService

log = structlog.get_logger("worker")

# Seconds for Envoy to do as it is told.
_ORDER_SECONDS = 2.0
# Seconds between two questions whether Envoy has sent everything.
_FLUSH_SECONDS = 0.02
# Turns of the event loop that a Rank takes: for its body, for the journal, for what is sent.
_TURNS = 3


class EnvoyEdge:
    """Envoy's port, and what runs behind it.

    Args:
        drain: seconds for running calls when stopping.
        admin: the Unix socket at which Envoy takes orders.
    """

    def __init__(self, app: EnvoyApp, health: Health, drain: float, admin: Path) -> None:
        self._app = app
        self._health = health
        self._drain = drain
        self._admin = admin
        self._calls: asyncio.Task[None] | None = None
        self.started = asyncio.Event()

    async def start(self) -> None:
        """Lets Envoy open the port; health says NOT_SERVING until told otherwise."""
        self._calls = asyncio.create_task(self._app.calls.run())
        self.started.set()

    async def set_serving(self, serving: bool) -> None:
        """What the health service says of the whole and of each service."""
        self._health.set(serving)

    async def turn(self) -> None:
        """Goes round the event loop, where all calls are that Envoy has taken, as often as a call does before it is answered."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Closes the port, sends clients elsewhere, and lets running calls end. May be called again."""
        self._health.stop()
        try:
            await self._order(
                "POST", "/healthcheck/fail"
            )  # every reply from now on says GOAWAY, or close
            await self._order("POST", "/drain_listeners")
        except OSError as error:
            log.warning("Envoy did not take an order", error=str(error))
        await self._app.calls.drain(self._drain)
        if self._calls is not None:
            self._calls.cancel()
        try:
            async with asyncio.timeout(_ORDER_SECONDS):
                while await self._active():  # noqa: ASYNC110  # Envoy tells who asks
                    await asyncio.sleep(_FLUSH_SECONDS)
        except OSError as error:
            log.warning("stopping before Envoy has sent everything", error=str(error))

    async def quit(self) -> None:
        """Ends this process: Envoy first, in order; at once if it does not."""
        try:
            await self._order("POST", "/quitquitquit")
        except OSError as error:
            log.warning("Envoy did not take its leave", error=str(error))
            os._exit(0)

    async def _active(self) -> int:
        """Requests whose reply is not yet on its way."""
        text = await self._order("GET", "/stats?filter=^http.rankd.downstream_rq_active$")
        found = re.search(r"downstream_rq_active: (\d+)", text)
        return 0 if found is None else int(found[1])

    async def _order(self, method: str, path: str) -> str:
        """The answer, as it is.

        Raises:
            OSError: Envoy is not there, or refuses.
            TimeoutError: it does not answer.
        """
        async with asyncio.timeout(_ORDER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(self._admin))
            try:
                head = f"{method} {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                writer.write(head.encode())
                answer = (await reader.read()).decode()
            finally:
                writer.close()
        if " 200 " not in answer.partition("\r\n")[0]:
            raise OSError(f"Envoy refuses {path}: {answer[:200]!r}")
        return answer


class Worker:
    """Takes pyvoy's calls: the lifespan, and every request."""

    def __init__(self, folder: DataFolder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._config = Config.model_validate_json(folder.config.read_bytes(), context=CHECKED)
        self._methods: Methods = {}
        self._app = EnvoyApp(self._methods, self._config.server.max_message_bytes)
        self._edge: EnvoyEdge | None = None

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(
        self,
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """From the start of Envoy, before it has opened the port, to its end."""
        await receive()
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        stop_with_supervisor(stopping)
        _on_sigterm(lambda: loop.call_soon_threadsafe(stopping.set))
        started = asyncio.Event()
        running = loop.create_task(self._run(stopping, started))
        await started.wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        stopping.set()
        await running
        await send({"type": "lifespan.shutdown.complete"})

    async def _run(self, stopping: asyncio.Event, started: asyncio.Event) -> None:
        def edge(decisions: DecisionService | None, admin: AdminService) -> EnvoyEdge:
            health = Health()
            self._methods.update(methods_of(decisions, admin, health))
            drain = self._config.server.drain.total_seconds()
            made = EnvoyEdge(self._app, health, drain, self._folder.admin_socket(self._name))
            made.started = started
            self._edge = made
            return made

        try:
            await serve(self._config, self._folder, stopping, edge)
        except BaseException:
            log.exception("the worker failed")
            os._exit(1)  # the supervisor starts another
        assert self._edge is not None
        await self._edge.quit()


def _on_sigterm(tell: Callable[[], object]) -> None:
    """Calls back when SIGTERM comes, which waits, blocked, for somebody to ask for it."""

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        tell()

    threading.Thread(target=wait, daemon=True, name="sigterm").start()


def __getattr__(name: str) -> Worker:
    """`app`, made when pyvoy asks for it: the process is a worker then, and no other may be one by an import."""
    if name != "app":
        raise AttributeError(name)
    root, worker = json.loads(os.environ[WORKER])
    logs.configure(worker)
    globals()["app"] = made = Worker(DataFolder(Path(root)), worker)
    return made
