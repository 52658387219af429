"""A TCP proxy that breaks connections on demand: partitions, resets, refusals, latency."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self, TypeVar

from tests.server.harness import free_port

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

# Bytes read at once.
_CHUNK = 1 << 16
# Chunks of one direction that may be under way, so that a delay is a latency and not a limit on the throughput: 16 MiB.
_UNDER_WAY = 256
# Turns of the event loop that it takes for one direction's end to be the other's, too.
_TURNS = 5
# Seconds for a command to the proxy's thread, which never waits for the network.
_COMMAND = 10.0


class Proxy:
    """Passes bytes on between its port and a target. It works from the moment it is made until `close`.

    Args:
        target_host: a name or an IPv4 address.
        target_port: nobody needs to listen there yet; a connection is reset while nobody does.
        listen_port: where clients connect to, on 127.0.0.1; 0 takes a free one.
    """

    def __init__(self, target_host: str, target_port: int, listen_port: int = 0) -> None:
        self._target = (socket.gethostbyname(target_host), target_port)
        self._delay = 0.0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: set[asyncio.Task[None]] = set()
        # Below the range of outgoing ports, so that after refuse() the port is still free.
        self.port = listen_port or free_port()
        self._listener = self._listen(self.port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"proxy {self.port}", daemon=True
        )
        self._thread.start()
        self._command(self._heal())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- faults ------------------------------------------------------------------------------------

    def cut(self) -> None:
        """A partition: connections stay open and new ones are accepted, but no byte passes, nor does the end of one.

        What is sent meanwhile arrives after `heal`, as TCP sends again what was lost.
        """
        self._command(self._cut())

    def refuse(self) -> None:
        """Nobody listens any more, and existing connections are reset."""
        self._command(self._refuse())

    def reset(self) -> None:
        """Resets all existing connections, once. New ones work."""
        self._command(self._reset())

    def delay(self, seconds: float) -> None:
        """Latency each way, for what is read from now on; as much as before passes at once."""
        self._command(self._set_delay(seconds))

    def heal(self) -> None:
        """Ends every fault."""
        self._command(self._heal())

    def close(self) -> None:
        """Resets all connections and ends the thread. May be called again."""
        if self._loop.is_closed():
            return
        self._command(self._refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- the same, on the proxy's thread -----------------------------------------------------------

    def _command(self, work: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_COMMAND)

    async def _cut(self) -> None:
        self._flowing.clear()

    async def _set_delay(self, seconds: float) -> None:
        self._delay = seconds

    async def _reset(self) -> None:
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _refuse(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        await self._reset()

    async def _heal(self) -> None:
        self._delay = 0.0
        self._flowing.set()
        if self._listener.fileno() < 0:
            self._listener = self._listen(self.port)
        self._loop.add_reader(self._listener, self._accept)

    @staticmethod
    def _listen(port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        listener.setblocking(False)
        return listener

    # -- one connection ----------------------------------------------------------------------------

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the client has gone again
            client, _ = self._listener.accept()
            server = socket.socket()
            for end in (client, server):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _close_by_reset(end, True)
            link = self._loop.create_task(self._link(client, server))
            self._links.add(link)
            # Here and not in the coroutine, whose first line is never reached when it is cancelled early.
            for done in (self._links.discard, lambda _: client.close(), lambda _: server.close()):
                link.add_done_callback(done)

    async def _link(self, client: socket.socket, server: socket.socket) -> None:
        """Passes bytes until both sides have ended. However else it ends, both sides are reset."""
        try:
            await self._flowing.wait()
            await self._loop.sock_connect(server, self._target)
            async with asyncio.TaskGroup() as group:
                for source, sink in ((client, server), (server, client)):
                    under_way = asyncio.Queue[tuple[float, bytes]](_UNDER_WAY)
                    group.create_task(self._read(source, under_way))
                    group.create_task(self._write(sink, under_way))
            for end in (client, server):
                _close_by_reset(end, False)
        except* OSError:  # one side has reset its connection, or cannot be reached
            await self._flowing.wait()

    async def _read(self, source: socket.socket, to: asyncio.Queue[tuple[float, bytes]]) -> None:
        data = b"more"
        while data:
            await self._flowing.wait()
            data = await self._loop.sock_recv(source, _CHUNK)
            await to.put((self._loop.time() + self._delay, data))

    async def _write(self, sink: socket.socket, of: asyncio.Queue[tuple[float, bytes]]) -> None:
        while True:
            due, data = await of.get()
            await asyncio.sleep(due - self._loop.time())
            if not self._flowing.is_set():
                await self._flowing.wait()
                # Whoever has reset its connection meanwhile sends nothing again: let `_read` see that first, and end both.
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            await self._loop.sock_sendall(sink, data)


def _close_by_reset(end: socket.socket, yes: bool) -> None:
    """Whether closing it tells the other side by a reset, also when all has been sent."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", yes, 0))
