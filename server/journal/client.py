"""How other processes append to the journal: over the writer's socket, with every wait bounded.

Whatever is appended may be sent twice without harm: a Decision is known by its event_id, a Reward by its reward_id, an
Activation says the same again. So when the writer goes away the client reconnects and sends again what
was not acknowledged, and a restart of the writer costs its callers a pause, not an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from functools import partial
from typing import TYPE_CHECKING

import structlog

from rankd.v1 import internal_pb2
from server.journal.wire import FrameError, Unframer, append_frame, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rankd.v1 import log_pb2 as pb

    Entries = Sequence[tuple[pb.Header, bytes]]
    """Headers and payloads of records."""

log = structlog.get_logger("journal")

# Seconds between attempts to reach a writer that is away. It restarts in about half a second.
_RECONNECT_SECONDS = 0.05
_RECEIVE = 1 << 20
# Bytes that may wait for the writer to read them. Ten seconds of a stalled disk at 1,000 calls of 4 kB a second.
_BEHIND = 64 << 20
# Bytes that the kernel is to take at once, as far as it may (net.core.wmem_max): a batch of 64 decisions of 7 kB is 450 kB. With the usual 200 kB it goes
# in pieces, each with a turn of the loop and a wake-up of the writer: 227 us a decision instead of 195, in all processes.
_SEND = 4 << 20
# How often, in shares of the timeout, those who have waited for too long are looked for: so they wait for up to a twentieth longer.
_LOOK = 0.05


class JournalError(Exception):
    """Records are not in the log, as far as is known."""


class JournalFullError(JournalError):
    """There is no room to write. Nothing was logged; the same call may be tried again. RESOURCE_EXHAUSTED."""


class JournalBusyError(JournalError):
    """The file cannot be written now, as where another program holds its lock. Nothing was logged; the same call may be tried again. UNAVAILABLE."""


class JournalTooLargeError(JournalError):
    """The records of one call are more than the writer takes at a time. Nothing was logged. RESOURCE_EXHAUSTED."""


class JournalUnavailableError(JournalError):
    """The writer, or Kafka where that is waited for, did not answer in time. Whether the record was logged is not known; a retry is safe. UNAVAILABLE."""


class JournalMovedError(JournalError):
    """The log has grown since the caller looked. Nothing was logged; look again."""


def _error(reply: internal_pb2.JournalReply) -> Exception | None:
    if reply.error == internal_pb2.JournalReply.ERROR_NONE:
        return None
    if reply.error == internal_pb2.JournalReply.ERROR_MOVED:
        return JournalMovedError("the log has moved on")
    if reply.error == internal_pb2.JournalReply.ERROR_BUSY:
        return JournalBusyError("the journal cannot be written now; the server's log says why")
    return JournalFullError("the journal cannot be written: no room left on the device")


class Answer:
    """What becomes of records that are to be appended. It outlives whoever waits for it, who may come back."""

    __slots__ = ("_acks", "_error", "_waiter", "due", "left", "then")

    def __init__(self) -> None:
        self.due = 0.0
        """When whoever waits now gives up, on the event loop's clock."""
        self.then: Callable[[list[internal_pb2.Ack]], None] | None = None
        """Called with the acks when they come, whether or not somebody waits then."""
        self.left: Callable[[], object] | None = None
        """Called when nobody is interested any more."""
        self._acks: list[internal_pb2.Ack] | None = None
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def sent(self) -> bool:
        """Whether the writer was sent the records, or nothing ever will be."""
        return self.left is not None or self.done

    @property
    def done(self) -> bool:
        """Whether the writer has answered."""
        return self._acks is not None or self._error is not None

    def drop(self) -> None:
        """Nobody is interested any more: it is not sent again, unless others in its frame still wait. May be called again."""
        if self.left is not None:
            self.left()
            self.left = None

    def answered(self, acks: list[internal_pb2.Ack]) -> None:
        """The records are in the log."""
        self._acks = acks
        self.wake()

    def follow(self) -> None:
        """Does `then`, if the records are in the log."""
        if self.then is not None and self._acks is not None:
            self.then(self._acks)

    def failed(self, error: Exception) -> None:
        """They are not, and will not be; whoever waits is told so."""
        self._error = error
        self.wake()

    def wake(self) -> None:
        """Lets whoever waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> list[internal_pb2.Ack] | None:
        """The acks, once they are there; None if `wake` came first.

        Raises:
            Exception: it has failed.
        """
        if not self.done:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._error is not None:
            raise self._error
        return self._acks


class _Request:
    """One frame on its way to the writer, and those who wait for an answer to a part of it."""

    __slots__ = ("frame", "open", "parts")

    def __init__(self, frame: bytes, parts: list[tuple[Answer, int]]) -> None:
        self.frame = frame
        self.parts = parts  # with the number of each one's records
        self.open = len(parts)  # of these, how many are of interest

    def answered(self, reply: internal_pb2.JournalReply) -> None:
        """Takes in the writer's answer."""
        at = 0
        for answer, count in self.parts:
            error = _error(reply)
            if error is None:
                answer.answered(reply.acks[at : at + count])
            else:
                answer.failed(error)
            at += count
        for answer, _ in self.parts:  # not before: whoever waits has been told by then
            answer.follow()


class JournalClient:
    """Appends from an event loop; many calls share one connection.

    Args:
        path: the writer's socket.
        timeout: seconds that one append may take, reconnecting included.
        wait_shipped: whether an append is done only when its records are in Kafka, too.
    """

    def __init__(self, path: Path, timeout: float, wait_shipped: bool = False) -> None:
        self._path = path
        self._timeout = timeout
        self._wait_shipped = wait_shipped
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Request] = {}
        self._open = 0
        self._writer: asyncio.StreamWriter | None = None
        self._out: list[bytes] = []  # frames to be written at the end of this turn of the loop
        self._watching = False

    @property
    def connected(self) -> bool:
        return self._writer is not None

    @property
    def behind(self) -> bool:
        """Whether the writer has left so much unread that no more should be sent: what was given up stays in the connection's buffer."""
        writer = self._writer
        return writer is not None and writer.transport.get_write_buffer_size() > _BEHIND

    @property
    def in_flight(self) -> int:
        """Appends that wait for their answer."""
        return self._open

    async def append(self, records: Sequence[pb.Record]) -> list[internal_pb2.Ack]:
        """Appends the records in one transaction and waits until they are on disk.

        Raises:
            JournalFullError: no room.
            JournalUnavailableError: no answer within the timeout.
        """
        return await self._last_wait(self.send(records))

    async def report(self, shipped: internal_pb2.Shipped) -> None:
        """Tells the writer how far its journal has been copied to Kafka. Raises JournalUnavailableError."""
        await self._call(internal_pb2.JournalRequest(shipped=shipped))

    async def trim(self, through: int) -> None:
        """Drops all records up to and including that sequence. Raises JournalUnavailableError."""
        await self._call(internal_pb2.JournalRequest(trim_to=through))

    def send(self, records: Sequence[pb.Record]) -> Answer:
        """Sends the records to be appended; the answer comes later. Drop it when it is of no interest any more."""
        answer = Answer()
        self.send_all([(answer, [(record.header, record.payload) for record in records])])
        return answer

    def send_all(self, parts: Sequence[tuple[Answer, Entries]]) -> None:
        """Sends the records of several together. Each gets an answer of its own, and may drop it."""
        records = [record for _, part in parts for record in part]
        waiting = [(answer, len(part)) for answer, part in parts]
        self._send(internal_pb2.JournalRequest(), waiting, records)

    async def _call(self, request: internal_pb2.JournalRequest) -> None:
        answer = Answer()
        self._send(request, [(answer, 0)], [])
        await self._last_wait(answer)

    async def _last_wait(self, answer: Answer) -> list[internal_pb2.Ack]:
        try:
            return await self.wait(answer)
        finally:
            answer.drop()

    def _send(
        self,
        request: internal_pb2.JournalRequest,
        parts: list[tuple[Answer, int]],
        records: Entries,
    ) -> None:
        number = request.id = next(self._ids)
        request.wait_shipped = self._wait_shipped
        request.callers = len(parts)
        try:
            data = append_frame(request, records)
        except FrameError as error:
            for answer, _ in parts:
                answer.failed(JournalTooLargeError(f"the records of one call: {error}"))
            return
        self._waiting[number] = _Request(data, parts)
        self._open += len(parts)
        leave = partial(self._leave, number)
        for answer, _ in parts:
            answer.left = leave
        self._watch()  # whoever waits may have begun to before there was anything to watch
        if self._writer is not None:
            if not self._out:  # what calls of one turn send goes out in one write
                asyncio.get_running_loop().call_soon(self._flush)
            self._out.append(data)

    def _leave(self, number: int) -> None:
        """One of those who wait for that request is not interested any more."""
        request = self._waiting.get(number)
        if request is None:  # answered
            return
        self._open -= 1
        request.open -= 1
        if not request.open:
            del self._waiting[number]

    def _flush(self) -> None:
        data, self._out = b"".join(self._out), []
        # Once the connection is lost all that was not answered is sent again anyway; Envoy's loop would raise here.
        if data and self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    async def wait(self, answer: Answer) -> list[internal_pb2.Ack]:
        """The answer to `send`. Whoever is cancelled or gives up here may wait for it again.

        Raises:
            JournalFullError, JournalUnavailableError: see `append`.
        """
        loop = asyncio.get_running_loop()
        answer.due = loop.time() + self._timeout
        self._watch()
        acks = await answer.wait()
        if acks is None:
            who = "the journal's writer or Kafka" if self._wait_shipped else "the journal's writer"
            raise JournalUnavailableError(f"{who} does not answer")
        return acks

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            asyncio.get_running_loop().call_later(self._timeout * _LOOK, self._look)

    def _look(self) -> None:
        """Wakes those who have waited for too long. One timer for all: each call's own would cost more than the call's frame."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for request in self._waiting.values():
            for answer, _ in request.parts:
                if answer.due <= now:
                    answer.wake()
        self._watching = bool(self._waiting)
        if self._watching:
            loop.call_later(self._timeout * _LOOK, self._look)

    async def run(self) -> None:
        """Keeps the connection up until cancelled."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(_RECONNECT_SECONDS)
                continue
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # some systems refuse more than they allow
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND)
            self._out = [request.frame for request in self._waiting.values()]
            self._writer = writer
            self._flush()
            try:
                await self._receive(reader)
            except (OSError, FrameError) as error:
                log.warning("lost the journal's writer", error=str(error))
            finally:
                self._writer = None
                writer.transport.abort()  # else it would keep what the writer has not read
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        unframer = Unframer()
        while data := await reader.read(_RECEIVE):
            for message in unframer.feed(data):
                reply = internal_pb2.JournalReply.FromString(message)
                request = self._waiting.pop(reply.id, None)
                if request is not None:  # else its callers have given up
                    self._open -= request.open
                    request.answered(reply)


class BlockingJournal:
    """Appends from a process without an event loop, one call at a time. Reconnects for every call."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    def append(
        self, records: Sequence[pb.Record], expected_last: int | None = None
    ) -> list[internal_pb2.Ack]:
        """Appends in one transaction, if the log still ends at `expected_last` (where given).

        Raises:
            JournalFullError, JournalMovedError, JournalUnavailableError: see there.
        """
        return self._call(
            internal_pb2.JournalRequest(id=1, records=records, expected_last=expected_last)
        )

    def trim(self, through: int) -> None:
        """Drops all records up to and including that sequence."""
        self._call(internal_pb2.JournalRequest(id=1, trim_to=through))

    def _call(self, request: internal_pb2.JournalRequest) -> list[internal_pb2.Ack]:
        try:
            with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
                sock.settimeout(self._timeout)
                sock.connect(str(self._path))
                sock.sendall(frame(request.SerializeToString()))
                unframer = Unframer()
                while data := sock.recv(_RECEIVE):
                    for message in unframer.feed(data):
                        reply = internal_pb2.JournalReply.FromString(message)
                        error = _error(reply)
                        if error is not None:
                            raise error
                        return list(reply.acks)
        except OSError as error:
            raise JournalUnavailableError(f"the journal's writer: {error}") from error
        raise JournalUnavailableError("the journal's writer closed the connection")
