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
from typing import TYPE_CHECKING

import structlog

from rankd.v1 import internal_pb2
from server.journal.wire import FrameError, Unframer, frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rankd.v1 import log_pb2 as pb

log = structlog.get_logger("journal")

# Seconds between attempts to reach a writer that is away. It restarts in about half a second.
_RECONNECT_SECONDS = 0.05
_RECEIVE = 1 << 20


class JournalFullError(Exception):
    """There is no room to write. Nothing was logged; the same call may be tried again. RESOURCE_EXHAUSTED."""


class JournalUnavailableError(Exception):
    """The writer, or Kafka where that is waited for, did not answer in time. Whether the record was logged is not known; a retry is safe. UNAVAILABLE."""


class JournalMovedError(Exception):
    """The log has grown since the caller looked. Nothing was logged; look again."""


def _result(reply: internal_pb2.JournalReply) -> list[internal_pb2.Ack]:
    if reply.error == internal_pb2.JournalReply.ERROR_NONE:
        return list(reply.acks)
    if reply.error == internal_pb2.JournalReply.ERROR_MOVED:
        raise JournalMovedError("the log has moved on")
    raise JournalFullError("the journal cannot be written: no room left on the device")


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
        self._waiting: dict[int, tuple[bytes, asyncio.Future[list[internal_pb2.Ack]]]] = {}
        self._writer: asyncio.StreamWriter | None = None

    @property
    def connected(self) -> bool:
        return self._writer is not None

    @property
    def in_flight(self) -> int:
        """Appends that wait for their answer."""
        return len(self._waiting)

    async def append(self, records: Sequence[pb.Record]) -> list[internal_pb2.Ack]:
        """Appends the records in one transaction and waits until they are on disk.

        Raises:
            JournalFullError: no room.
            JournalUnavailableError: no answer within the timeout.
        """
        return await self._call(internal_pb2.JournalRequest(records=records))

    async def report(self, shipped: internal_pb2.Shipped) -> None:
        """Tells the writer how far its journal has been copied to Kafka. Raises JournalUnavailableError."""
        await self._call(internal_pb2.JournalRequest(shipped=shipped))

    async def trim(self, through: int) -> None:
        """Drops all records up to and including that sequence. Raises JournalUnavailableError."""
        await self._call(internal_pb2.JournalRequest(trim_to=through))

    def send(self, records: Sequence[pb.Record]) -> asyncio.Future[list[internal_pb2.Ack]]:
        """Sends the records to be appended; the answer comes later. Cancel it when it is of no interest any more."""
        return self._send(internal_pb2.JournalRequest(records=records))

    async def _call(self, request: internal_pb2.JournalRequest) -> list[internal_pb2.Ack]:
        answer = self._send(request)
        try:
            return await self.wait(answer)
        finally:
            answer.cancel()

    def _send(self, request: internal_pb2.JournalRequest) -> asyncio.Future[list[internal_pb2.Ack]]:
        number = request.id = next(self._ids)
        request.wait_shipped = self._wait_shipped
        data = frame(request.SerializeToString())
        answer: asyncio.Future[list[internal_pb2.Ack]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (data, answer)
        answer.add_done_callback(lambda _: self._waiting.pop(number))
        if self._writer is not None:
            self._writer.write(data)
        return answer

    async def wait(self, answer: asyncio.Future[list[internal_pb2.Ack]]) -> list[internal_pb2.Ack]:
        """The answer to `send`. Whoever is cancelled or gives up here may wait for it again.

        Raises:
            JournalFullError, JournalUnavailableError: see `append`.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.shield(answer)
        except TimeoutError as error:
            who = "the journal's writer or Kafka" if self._wait_shipped else "the journal's writer"
            raise JournalUnavailableError(f"{who} does not answer") from error

    async def run(self) -> None:
        """Keeps the connection up until cancelled."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(_RECONNECT_SECONDS)
                continue
            for data, _ in list(self._waiting.values()):
                writer.write(data)
            self._writer = writer
            try:
                await self._receive(reader)
            except (OSError, FrameError) as error:
                log.warning("lost the journal's writer", error=str(error))
            finally:
                self._writer = None
                writer.close()
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        unframer = Unframer()
        while data := await reader.read(_RECEIVE):
            for message in unframer.feed(data):
                reply = internal_pb2.JournalReply.FromString(message)
                waiting = self._waiting.get(reply.id)
                if waiting is None or waiting[1].done():
                    continue  # its caller has given up
                try:
                    waiting[1].set_result(_result(reply))
                except (JournalFullError, JournalMovedError) as error:
                    waiting[1].set_exception(error)


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
                        return _result(internal_pb2.JournalReply.FromString(message))
        except OSError as error:
            raise JournalUnavailableError(f"the journal's writer: {error}") from error
        raise JournalUnavailableError("the journal's writer closed the connection")
