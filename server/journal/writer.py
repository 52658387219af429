"""The journal's writer: a process of its own, the only one that appends.

One thread, one loop: wait for frames, take all that have come, append them in one transaction, answer. While a commit
waits for the disk the next frames gather in the sockets, so the commit after it is a larger group: group commit
without a timer.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import sqlite3
import sys
import time
from typing import TYPE_CHECKING

import structlog
from google.protobuf.message import DecodeError

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.journal.store import Store
from server.journal.wire import FrameError, Unframer, frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = structlog.get_logger("writer")

# The log gets a Tick this often (seconds), so that windows close in time: those of a quiet app too, whatever its
# neighbours log. 86,400 small rows a day.
TICK_SECONDS = 1.0
# Bytes taken from one connection at a time; also how much one client can be ahead of the others.
_RECEIVE = 1 << 20
# A client that does not read its answers is dropped at this backlog (bytes) rather than grow the writer's memory.
_BACKLOG = 64 << 20

_Error = internal_pb2.JournalReply


class _Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unframer = Unframer()
        self.out = bytearray()


class Writer:
    """Serves one store on one Unix socket until stopped."""

    def __init__(self, store: Store, socket_path: Path) -> None:
        self._store = store
        self._selector = selectors.DefaultSelector()
        socket_path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(socket_path))
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._woken, waker = socket.socketpair()
        self._woken.setblocking(False)
        waker.setblocking(False)
        self._waker = waker
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stopping = False
        self._full = False
        self._tick_at = time.monotonic() + TICK_SECONDS

    def stop(self, *_: object) -> None:
        """Asks the loop to finish what it has and end. May be called from a signal handler, and again."""
        self._stopping = True
        with contextlib.suppress(OSError):  # it has ended already, or has been woken often enough
            self._waker.send(b"\0")

    def watch_parent(self) -> None:
        """Ends when standard input does: the supervisor holds its other end, so it cannot die unnoticed."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)

    def run(self) -> None:
        """Serves until `stop`."""
        while not self._stopping:
            self._turn(max(0.0, self._tick_at - time.monotonic()))
        self._turn(0)  # what was sent before the stop is still appended and answered
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Connection):
                self._drop(key.data)
        self._selector.close()
        for sock in (self._listener, self._woken, self._waker):
            sock.close()

    def _turn(self, wait: float) -> None:
        requests: list[tuple[_Connection, internal_pb2.JournalRequest]] = []
        for key, events in self._selector.select(wait):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is sys.stdin:
                self._stopping = True
                self._selector.unregister(sys.stdin)
            elif key.data is None:
                self._woken.recv(64)
            else:
                if events & selectors.EVENT_READ:
                    requests.extend(self._receive(key.data))
                if events & selectors.EVENT_WRITE:
                    self._flush(key.data)
        self._serve(requests)
        if time.monotonic() >= self._tick_at:
            tick = pb.Record(header=pb.Header(kind=pb.KIND_TICK))
            tick.header.origin_time_us = time.time_ns() // 1_000
            self._append([[tick]])
            self._tick_at = time.monotonic() + TICK_SECONDS

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, _Connection(sock))

    def _receive(
        self, connection: _Connection
    ) -> list[tuple[_Connection, internal_pb2.JournalRequest]]:
        try:
            data = connection.sock.recv(_RECEIVE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return []
        try:
            frames = list(connection.unframer.feed(data))
            return [(connection, internal_pb2.JournalRequest.FromString(f)) for f in frames]
        except (FrameError, DecodeError) as error:
            log.error(
                "dropped a client that does not speak the journal's protocol", error=str(error)
            )
            self._drop(connection)
            return []

    def _serve(self, requests: list[tuple[_Connection, internal_pb2.JournalRequest]]) -> None:
        """Plain appends share one transaction; a conditional append or a trim stands alone, in its place."""
        group: list[tuple[_Connection, internal_pb2.JournalRequest]] = []
        for connection, request in requests:
            if request.HasField("expected_last") or request.HasField("trim_to"):
                self._append_group(group)
                group = []
                self._alone(connection, request)
            else:
                group.append((connection, request))
        self._append_group(group)

    def _alone(self, connection: _Connection, request: internal_pb2.JournalRequest) -> None:
        if request.HasField("expected_last") and request.expected_last != self._store.last:
            self._reply(connection, request.id, _Error.ERROR_MOVED)
            return
        if request.HasField("trim_to"):
            try:
                dropped = self._store.trim(request.trim_to)
                log.info("trimmed", through=request.trim_to, dropped=dropped)
            except sqlite3.Error as error:
                log.error("cannot trim", error=str(error))
        self._append_group([(connection, request)])

    def _append_group(self, group: list[tuple[_Connection, internal_pb2.JournalRequest]]) -> None:
        if not group:
            return
        acks = self._append([request.records for _, request in group])
        for i, (connection, request) in enumerate(group):
            if acks is None:
                self._reply(connection, request.id, _Error.ERROR_FULL)
            else:
                self._reply(connection, request.id, _Error.ERROR_NONE, acks[i])

    def _append(self, groups: Sequence[Sequence[pb.Record]]) -> list[list[internal_pb2.Ack]] | None:
        """Acks of each group, or None where nothing could be written."""
        try:
            stored = self._store.append(groups)
        except sqlite3.Error as error:
            if not self._full:
                log.error("cannot write the journal; refusing calls until it can", error=str(error))
            self._full = True
            return None
        if self._full:
            log.info("the journal can be written again")
            self._full = False
        return [
            [
                internal_pb2.Ack(sequence=place.sequence, node=place.node, stored=place.payload)
                for place in group
            ]
            for group in stored
        ]

    def _reply(
        self,
        connection: _Connection,
        number: int,
        error: internal_pb2.JournalReply.Error,
        acks: list[internal_pb2.Ack] | None = None,
    ) -> None:
        reply = internal_pb2.JournalReply(id=number, error=error, acks=acks or [])
        connection.out += frame(reply.SerializeToString())
        self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        if connection.sock.fileno() < 0:
            return
        try:
            sent = connection.sock.send(connection.out) if connection.out else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(connection)
            return
        del connection.out[:sent]
        if len(connection.out) > _BACKLOG:
            log.error("dropped a client that does not read its answers")
            self._drop(connection)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.out else 0)
        self._selector.modify(connection.sock, wanted, connection)

    def _drop(self, connection: _Connection) -> None:
        if connection.sock.fileno() >= 0:
            self._selector.unregister(connection.sock)
            connection.sock.close()


def main(journal: Path, socket_path: Path) -> None:
    """The writer process."""
    store = Store(journal)
    writer = Writer(store, socket_path)
    signal.signal(signal.SIGTERM, writer.stop)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the supervisor decides
    writer.watch_parent()
    log.info("writing", node=store.node, last=store.last)
    try:
        writer.run()
    finally:
        store.close()
        socket_path.unlink(missing_ok=True)
