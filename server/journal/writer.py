"""The journal's writer: a process of its own, the only one that appends.

One thread, one loop: wait for frames, take all that have come, append them in one transaction, answer. While a commit
waits for the disk the next frames gather in the sockets, so the commit after it is a larger group.
"""

from __future__ import annotations

import contextlib
import heapq
import selectors
import signal
import socket
import sqlite3
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import structlog
from google.protobuf.message import DecodeError

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.journal.store import Store
from server.journal.wire import FrameError, Unframer, frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from server.journal.store import Stored

log = structlog.get_logger("writer")

# The log gets a Tick this often (seconds), so that windows close in time: those of a quiet app too, whatever its
# neighbours log. 86,400 small rows a day.
TICK_SECONDS = 1.0
# Bytes taken from one connection at a time; also how much one client can be ahead of the others.
_RECEIVE = 1 << 20
# A client that does not read its answers is dropped at this backlog (bytes) rather than grow the writer's memory.
_BACKLOG = 64 << 20
# Answers that wait for Kafka. While it is away callers give up and try again, which nobody tells the writer of: beyond
# this number the older half is forgotten. Their callers, five seconds of 20,000 calls, have gone by then. Some 30 MB.
_MOST_WAITING = 100_000

# Where several callers came at a time the next ones are given so long to gather for each of these (seconds), and no longer than that in all. A
# commit and its wake-ups cost as much for two as for thirty, so the more come the more it pays to wait, and on a busy machine answers come sooner
# for it: benchmarks/README.md, serve-01. Where a thousand come in a second that is some .3 ms. Who calls one at a time never waits.
GATHER_SECONDS, GATHER_MOST = 0.00025, 0.003

# Of an error code of SQLite's, the part that is there in all versions, and what a full disk and one that fails come to.
_PRIMARY = 0xFF
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)

_Error = internal_pb2.JournalReply


class _Waiting(NamedTuple):
    """An answer to be given when all records up to `sequence` are in Kafka."""

    sequence: int
    arrival: int
    connection: _Connection
    reply: internal_pb2.JournalReply


class _Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unframer = Unframer()
        self.out = bytearray()
        self.events = selectors.EVENT_READ  # that are waited for


class Writer:
    """Serves one store on one Unix socket until stopped.

    Args:
        shared: whether others share the log: then they are told of an orderly end, so that they do not wait.
    """

    def __init__(self, store: Store, socket_path: Path, shared: bool = False) -> None:
        self._store = store
        self._shared = shared
        self._waiting: list[_Waiting] = []  # a heap
        self._arrivals = 0
        self._gather = 0.0  # seconds before the next turn
        self._answered: set[_Connection] = set()  # that have answers to be sent
        # Received into again and again: a new one of this size each time is mapped, cleared and unmapped by the kernel.
        self._received = memoryview(bytearray(_RECEIVE))
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
        self._failing: internal_pb2.JournalReply.Error = _Error.ERROR_NONE  # why, if so
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
        if self._shared:
            fence = pb.Fence(folder=self._store.folder).SerializeToString()
            self._append([[_record(pb.KIND_FENCE, fence)]])
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Connection):
                self._drop(key.data)
        self._selector.close()
        for sock in (self._listener, self._woken, self._waker):
            sock.close()

    def _turn(self, wait: float) -> None:
        if self._gather:
            time.sleep(self._gather)
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
        callers = sum(max(1, request.callers) for _, request in requests)
        self._gather = min(callers * GATHER_SECONDS, GATHER_MOST) if callers > 1 else 0.0
        self._serve(requests)
        for connection in self._answered:  # one write for all answers of a turn
            self._flush(connection)
        self._answered.clear()
        if time.monotonic() >= self._tick_at:
            self._append([[_record(pb.KIND_TICK)]])
            self._tick_at = time.monotonic() + TICK_SECONDS

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, _Connection(sock))

    def _receive(
        self, connection: _Connection
    ) -> list[tuple[_Connection, internal_pb2.JournalRequest]]:
        try:
            size = connection.sock.recv_into(self._received)
        except BlockingIOError:
            return []
        except OSError:
            size = 0
        if not size:
            self._drop(connection)
            return []
        try:
            frames = list(connection.unframer.feed(self._received[:size]))
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
            if request.HasField("shipped"):
                self._store.ship(request.shipped)
                self._release()
            if request.HasField("expected_last") or request.HasField("trim_to"):
                self._append_group(group)
                group = []
                self._alone(connection, request)
            else:
                group.append((connection, request))
        self._append_group(group)

    def _alone(self, connection: _Connection, request: internal_pb2.JournalRequest) -> None:
        if request.HasField("expected_last") and request.expected_last != self._store.last:
            self._refuse(connection, request.id, _Error.ERROR_MOVED)
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
        stored = self._append([request.records for _, request in group])
        for i, (connection, request) in enumerate(group):
            if stored is None:
                self._refuse(connection, request.id, self._failing)
                continue
            reply = internal_pb2.JournalReply(id=request.id)
            for place in stored[i]:
                reply.acks.add(sequence=place.sequence, node=place.node, stored=place.payload)
            through = max((place.sequence for place in stored[i]), default=0)
            if request.wait_shipped and through > self._store.shipped.sequence:
                self._wait(through, connection, reply)
            else:
                self._send(connection, reply)

    def _wait(
        self, sequence: int, connection: _Connection, reply: internal_pb2.JournalReply
    ) -> None:
        """Keeps an answer until its records are in Kafka."""
        self._arrivals += 1
        heapq.heappush(self._waiting, _Waiting(sequence, self._arrivals, connection, reply))
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.sort(key=lambda waiting: waiting.arrival)
            del self._waiting[: _MOST_WAITING // 2]
            heapq.heapify(self._waiting)

    def _release(self) -> None:
        """Gives the answers whose records are in Kafka by now."""
        shipped = self._store.shipped.sequence
        while self._waiting and self._waiting[0].sequence <= shipped:
            waiting = heapq.heappop(self._waiting)
            self._send(waiting.connection, waiting.reply)

    def _append(self, groups: Sequence[Sequence[pb.Record]]) -> list[list[Stored]] | None:
        """Where each group's records stand, or None where nothing could be written."""
        try:
            stored = self._store.append(groups)
        except sqlite3.Error as error:
            if not self._failing:
                log.error("cannot write the journal; refusing calls until it can", error=str(error))
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
            self._failing = _Error.ERROR_FULL if code in _NO_ROOM else _Error.ERROR_BUSY
            return None
        if self._failing:
            log.info("the journal can be written again")
            self._failing = _Error.ERROR_NONE
        return stored

    def _refuse(
        self, connection: _Connection, number: int, error: internal_pb2.JournalReply.Error
    ) -> None:
        self._send(connection, internal_pb2.JournalReply(id=number, error=error))

    def _send(self, connection: _Connection, reply: internal_pb2.JournalReply) -> None:
        if connection.sock.fileno() < 0:
            return  # the client has gone
        connection.out += frame(reply.SerializeToString())
        self._answered.add(connection)

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
        if wanted != connection.events:
            self._selector.modify(connection.sock, wanted, connection)
            connection.events = wanted

    def _drop(self, connection: _Connection) -> None:
        if connection.sock.fileno() >= 0:
            self._selector.unregister(connection.sock)
            connection.sock.close()


def _record(kind: pb.Kind, payload: bytes = b"") -> pb.Record:
    """A record of the writer's own, which counts for every app."""
    header = pb.Header(kind=kind, origin_time_us=time.time_ns() // 1_000)
    return pb.Record(header=header, payload=payload)


def main(journal: Path, socket_path: Path, shared: bool = False) -> None:
    """The writer process.

    Args:
        shared: whether the journal is copied to Kafka, where others read it.
    """
    store = Store(journal, shared)
    writer = Writer(store, socket_path, shared)
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
