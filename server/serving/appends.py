"""What a service appends to the journal: what errors become, and what the log is told of decisions that nobody was shown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from rankd.v1 import log_pb2 as pb
from server.journal.client import (
    Answer,
    JournalBusyError,
    JournalError,
    JournalFullError,
    JournalTooLargeError,
    JournalUnavailableError,
)
from server.serving.errors import ResourceExhaustedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rankd.v1 import internal_pb2
    from server.journal.client import JournalClient

log = structlog.get_logger("service")


class Appends:
    """Waits for the journal on behalf of callers, who may go before it has answered.

    Args:
        tasks: owns what outlives a call: telling the log that a reply could not be delivered.
    """

    def __init__(self, journal: JournalClient, tasks: asyncio.TaskGroup) -> None:
        self._journal = journal
        self._tasks = tasks

    async def append(self, records: list[pb.Record]) -> list[internal_pb2.Ack]:
        """Appends with one commit. Raises as `acks`."""
        return await self.acks([record.header for record in records], self._journal.send(records))

    async def acks(self, headers: list[pb.Header], answer: Answer) -> list[internal_pb2.Ack]:
        """The answer to what was sent with these headers. Where nobody waits for it any more, the log is told that decisions among it were not delivered.

        Raises:
            ResourceExhaustedError: nothing was logged, and the same call had better come later, or smaller.
            UnavailableError: whether it was logged is not known, or it was not; the same call may come again.
        """
        try:
            return await self._journal.wait(answer)
        except (JournalFullError, JournalTooLargeError) as error:
            raise ResourceExhaustedError(str(error)) from error
        except JournalBusyError as error:
            raise UnavailableError(f"{error}; retry") from error
        except JournalUnavailableError as error:
            self._tasks.create_task(self._tell_lost(headers, answer))
            raise UnavailableError(f"{error}; retry") from error
        except asyncio.CancelledError:
            self._tasks.create_task(self._tell_lost(headers, answer))
            raise

    def undelivered(self, decisions: list[pb.Header]) -> None:
        """Has the log told that nobody was shown these decisions."""
        self._tasks.create_task(self._undelivered(decisions))

    async def _tell_lost(self, headers: list[pb.Header], answer: Answer) -> None:
        """The caller has gone before the journal answered: decisions that it made have been shown to nobody.

        Those that were in the log before may well have been. Where the journal keeps silent nobody can know; it will
        read both, one after the other, when it comes back.
        """
        try:
            try:
                acks = await self._journal.wait(answer)
            except JournalUnavailableError:
                pass
            except Exception:
                # Nothing was logged, for whatever reason: a caller who had stayed would have been told.
                return
            else:
                headers = new(headers, acks)
            await self._undelivered(h for h in headers if h.kind == pb.KIND_DECISION)
        finally:
            # Not before: a retry's decision, made anew, is not to be found undelivered because this one was not sent.
            answer.drop()

    async def _undelivered(self, decisions: Iterable[pb.Header]) -> None:
        """Says in the log that nobody was shown these decisions."""
        lost = [activation(header, pb.Activation.CAUSE_UNDELIVERED) for header in decisions]
        if not lost:
            return
        try:
            await self._journal.append(lost)
        except JournalError as error:
            log.warning("could not log that a reply was not delivered", error=str(error))


def new(headers: list[pb.Header], acks: list[internal_pb2.Ack]) -> list[pb.Header]:
    """Those of decisions that were not in the log before."""
    return [h for h, ack in zip(headers, acks, strict=True) if not ack.HasField("stored")]


def activation(header: pb.Header, cause: pb.Activation.Cause) -> pb.Record:
    """What is to be said of the decision of that header's event."""
    record = pb.Record(payload=pb.Activation(cause=cause).SerializeToString())
    record.header.CopyFrom(header)
    record.header.kind = pb.KIND_ACTIVATION
    return record
