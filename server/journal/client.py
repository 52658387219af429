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
    """The writer did not answer in time. Whether the record was logged is not known; a retry is safe. UNAVAILABLE."""


class JournalMovedError(Exception):
    """The log has grown since the caller looked. Nothing was logged; look again."""


def _result(reply: internal_pb2.JournalReply) -> list[internal_pb2.Ack]:
    if reply.error == internal_pb2.JournalReply.ERROR_NONE:
        return list(reply.acks)
    if reply.error == internal_pb2.JournalReply.ERROR_MOVED:
        raise JournalMovedError("the log has moved on")
    raise JournalFullError("the journal cannot be written: no room left on the device")


class JournalClient:
    """Appends from an event loop; many calls share one connection."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout  # seconds that one append may take, reconnecting included
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
        answer = self.send(records)
        try:
            return await self.wait(answer)
        finally:
            answer.cancel()

    def send(self, records: Sequence[pb.Record]) -> asyncio.Future[list[internal_pb2.Ack]]:
        """Sends the records to be appended; the answer comes later. Cancel it when it is of no interest any more."""
        number = next(self._ids)
        data = frame(internal_pb2.JournalRequest(id=number, records=records).SerializeToString())
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
            raise JournalUnavailableError("the journal's writer does not answer") from error

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
