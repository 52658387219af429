"""Merges the partitions of an app's topic into the one order in which everybody folds it.

Records go by (order time, partition, offset), order time being the running maximum of the broker's stamps within the
partition. One is certain of its place once every other partition has shown its next; each journal's Ticks, which go to
every partition, keep them all moving. So the order depends on nothing but what the topic holds.

Each journal's records in a partition are a chain: they name their number and the one before. What was sent twice is
dropped; what is missing stops the merge.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.incoming import Unreadable, read_message
from server.fold.records import LogError, LogRecord

if TYPE_CHECKING:
    from collections.abc import Iterator


# As many as the configuration allows.
MOST_PARTITIONS = 1024


@dataclass(frozen=True, slots=True)
class Message:
    """What a topic holds at one place."""

    partition: int
    offset: int
    time_us: int  # the broker's stamp
    value: bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that is no record. It is passed over, and counted."""

    message: Message
    reason: str


def beginning() -> internal_pb2.MergeState:
    """Where the merge of a topic begins: its first partition, which tells of the others."""
    return internal_pb2.MergeState(offsets=[0], times_us=[0])


class Merger:
    """Merges one app's partitions. It begins with partition 0, and learns from the log's Configs of more.

    Args:
        app: records of other apps are unreadable here.
        state: where another merger stood; None begins at the beginning.
    """

    def __init__(self, app: str, state: internal_pb2.MergeState | None = None) -> None:
        self.app = app
        state = state or beginning()
        self.sequence = state.sequence  # of the record emitted last
        self.dead, self.copies = state.dead, state.copies
        self.passed = 0  # messages that were dealt with here, whatever they were
        self.held = 0  # messages that have been fed, and wait
        self.held_bytes = 0
        self._times_us = list(state.times_us)
        self._next = list(state.offsets)  # after what was emitted
        self._fed = list(state.offsets)
        self._chains = {
            (chain.folder, chain.partition): (chain.incarnation, chain.sequence)
            for chain in state.chains
        }
        self._heads: list[deque[Message]] = [deque() for _ in self._next]
        # Heap of (order time, partition) of the next message of every partition that has one.
        self._order: list[tuple[int, int]] = []

    @property
    def offsets(self) -> list[int]:
        """For each partition, the least offset that may be fed next."""
        return list(self._fed)

    @property
    def waiting_for(self) -> list[int]:
        """Partitions of which the next message has to be known before anything more is certain."""
        return [partition for partition, head in enumerate(self._heads) if not head]

    def feed(self, message: Message) -> None:
        """Takes in a partition's next message. Offsets may jump, where the broker keeps marks of its own."""
        partition = message.partition
        if message.offset < self._fed[partition]:
            return  # read before the consumer was made anew
        self._fed[partition] = message.offset + 1
        head = self._heads[partition]
        if not head:
            self._await(partition, message)
        head.append(message)
        self.held += 1
        self.held_bytes += len(message.value)

    def _await(self, partition: int, message: Message) -> None:
        heapq.heappush(self._order, (max(self._times_us[partition], message.time_us), partition))

    def emit(self) -> Iterator[LogRecord | DeadLetter]:
        """Everything whose place is certain by now. May be left after any item, and called again.

        Raises:
            LogError: a hole in a journal's chain, or a journal that was restored from an old backup. The merge stands
                before that record.
        """
        while len(self._order) == len(self._heads):
            time_us, partition = self._order[0]
            message = self._heads[partition][0]
            try:
                record = read_message(message.value, self.app, time_us)
            except Unreadable as error:
                self._pass(message, time_us)
                self.dead += 1
                yield DeadLetter(message, str(error))
                continue
            if record.node and not self._is_next(record, message):
                self._pass(message, time_us)
                self.copies += 1
                continue
            partitions = _partitions(record) if record.kind == pb.KIND_CONFIG else 1
            self._pass(message, time_us)
            self.sequence += 1
            if record.node:
                folder, _, incarnation = record.node.rpartition(".")
                self._chains[folder, partition] = (int(incarnation), record.number)
            if partitions > len(self._heads):
                self._grow(partitions, time_us)
            yield _placed(record, self.sequence, partition, time_us)

    def _pass(self, message: Message, time_us: int) -> None:
        """The least head is dealt with."""
        partition = message.partition
        heapq.heappop(self._order)
        head = self._heads[partition]
        head.popleft()
        self.passed += 1
        self.held -= 1
        self.held_bytes -= len(message.value)
        self._times_us[partition] = time_us
        self._next[partition] = message.offset + 1
        if head:
            self._await(partition, head[0])

    def _is_next(self, record: LogRecord, message: Message) -> bool:
        """Whether the record is the next of its chain; False for one that was there before."""
        folder, _, incarnation = record.node.rpartition(".")
        before, last = self._chains.get((folder, message.partition), (0, 0))
        if record.previous == last < record.number:
            return True
        at = f"topic of app {self.app!r}, partition {message.partition}, offset {message.offset}"
        if record.number > last:
            raise LogError(
                f"{at}: journal {folder} goes on with record {record.number} after {record.previous}, but the last "
                f"one here is {last}: records are missing. See docs/operations.md, 'A hole in the log'"
            )
        if int(incarnation) > before:
            raise LogError(
                f"{at}: journal {folder} was opened anew and writes record {record.number} again, after "
                f"{last}: it was restored from an old backup. Stop that server, empty its data folder (it gets a new "
                "identity), and see docs/operations.md for what the log holds of it"
            )
        return False

    def _grow(self, partitions: int, time_us: int) -> None:
        """From here on the log has as many partitions. Order time does not fall, however old what is in them."""
        for _ in range(len(self._heads), partitions):
            self._heads.append(deque())
            self._times_us.append(time_us)
            self._next.append(0)
            self._fed.append(0)

    def state(self) -> internal_pb2.MergeState:
        """Where the merge stands, after everything that was emitted."""
        return internal_pb2.MergeState(
            sequence=self.sequence,
            offsets=self._next,
            times_us=self._times_us,
            chains=[
                internal_pb2.Chain(
                    folder=folder, partition=partition, incarnation=incarnation, sequence=sequence
                )
                for (folder, partition), (incarnation, sequence) in sorted(self._chains.items())
            ],
            dead=self.dead,
            copies=self.copies,
        )


def _partitions(config: LogRecord) -> int:
    """How many the app's topic has, as its settings say."""
    try:
        said = json.loads(config.message(pb.Config).json).get("partitions", 1)
    except (ValueError, AttributeError):
        said = None
    if not (isinstance(said, int) and 1 <= said <= MOST_PARTITIONS):
        raise LogError(
            f"record {config.number} of {config.node}: a Config that does not tell its partitions"
        )
    return said


def _placed(record: LogRecord, sequence: int, partition: int, time_us: int) -> LogRecord:
    """The record under its number in the merged log, stamped with its order time."""
    return LogRecord(
        sequence,
        record.kind,
        record.app,
        record.event_id,
        record.origin_us,
        time_us,
        record.node,
        record.previous,
        record.payload,
        record.key_id,
        record.subject_id,
        record.number,
        partition,
        record.lag_us,
    )
