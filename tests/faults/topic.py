"""The topic as it is, read by plain means, and folded without any process of ours: what everything is held against."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition

from policies import state_sha256
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.envelope import unseal
from server.fold.fold import AppFold
from server.fold.merge import DeadLetter, Merger, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from server.fold.joiner import Joined
    from server.fold.records import LogRecord

# Seconds for reading a whole topic.
_PATIENCE = 60.0


def read_topic(bootstrap: str, topic: str) -> list[Message]:
    """Every message that is in the topic now, partition by partition."""
    return asyncio.run(_read(bootstrap, topic))


async def _read(bootstrap: str, topic: str) -> list[Message]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="none", max_partition_fetch_bytes=16 << 20
    )
    messages = []
    async with asyncio.timeout(_PATIENCE):
        await consumer.start()
        try:
            await consumer.topics()
            consumer.assign([TopicPartition(topic, 0)])
            await consumer.end_offsets([TopicPartition(topic, 0)])
            count = len(consumer.partitions_for_topic(topic) or ())
            partitions = [TopicPartition(topic, n) for n in range(count)]
            consumer.assign(partitions)
            begins = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            for partition in partitions:
                consumer.seek(partition, begins[partition])
            while any([await consumer.position(p) < ends[p] for p in partitions]):
                for partition, found in (await consumer.getmany(timeout_ms=500)).items():
                    messages += [
                        Message(partition.partition, m.offset, 1000 * m.timestamp, m.value or b"")
                        for m in found
                    ]
        finally:
            await consumer.stop()
    return sorted(messages, key=lambda message: (message.partition, message.offset))


@dataclass(frozen=True)
class Learned:
    """One decision that the fold has learned."""

    event_id: str
    decision_id: str
    rewards: dict[int, float]  # by the slot's number, defaults filled in
    when: int  # the record at which it was learned


class _Telling(AppFold):
    """A fold that tells what it learns."""

    def __init__(self, merged: Merged) -> None:
        super().__init__(merged.app, merged.read, merged.artefact)
        self._log = merged
        self.learned: list[Learned] = []

    def _learn(self, sequence: int, closed: Iterable[Joined]) -> None:
        closed = list(closed)
        if not self.holds:  # else it comes here again
            for joined in closed:
                record = self._log.read(joined.at)
                self.learned.append(
                    Learned(record.event_id, record.decision_id, joined.rewards, sequence)
                )
        super()._learn(sequence, closed)


@dataclass
class Merged:
    """The topic in its one order, as far as that is certain, as a `LogSource`."""

    app: str
    log: list[LogRecord] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    copies: int = 0

    @classmethod
    def of(cls, app: str, messages: list[Message]) -> Merged:
        """Raises LogError where the log has a hole."""
        merger, merged = Merger(app), cls(app)
        waiting: dict[int, list[Message]] = {}
        for message in reversed(messages):
            waiting.setdefault(message.partition, []).append(message)
        while True:
            needed = [p for p in merger.waiting_for if waiting.get(p)]
            if not needed:
                break
            for partition in needed:
                merger.feed(waiting[partition].pop())
            for item in merger.emit():
                (merged.dead if isinstance(item, DeadLetter) else merged.log).append(item)  # type: ignore[arg-type]
        merged.copies = merger.copies
        return merged

    def fold(self, through: int | None = None) -> tuple[AppFold, dict[int, str]]:
        """The uninterrupted fold, and the sha256 of the policy's state after each record that changed it."""
        fold = AppFold(self.app, self.read, self.artefact)
        states: dict[int, str] = {}
        for record in self.log[:through]:
            before = fold.changed_at
            fold.step(record)
            if fold.changed_at != before and fold.model is not None:
                states[record.sequence] = state_sha256(fold.model.state())
        return fold, states

    def learned(self) -> list[Learned]:
        """What an uninterrupted fold learns, in its order."""
        fold = _Telling(self)
        for record in self.log:
            fold.step(record)
        return fold.learned

    # -- a LogSource -------------------------------------------------------------------------------

    def apps(self) -> list[str]:
        return [self.app]

    def base(self, app: str) -> internal_pb2.Checkpoint | None:
        return None

    def records(self, after: int) -> Iterator[LogRecord]:
        return iter(self.log[after:])

    def read(self, sequence: int) -> LogRecord:
        return self.log[sequence - 1]

    def artefact(self, sha256: str) -> bytes:
        pieces: dict[int, bytes] = {}
        for record in self.log:
            if record.kind == pb.KIND_ARTEFACT:
                piece = pb.Artefact.FromString(record.payload)
                if piece.state_sha256 == sha256:
                    pieces[piece.piece] = piece.data
        return unseal(internal_pb2.Snapshot, b"".join(pieces[i] for i in sorted(pieces))).policy

    def checkpoints(self, app: str) -> dict[int, str]:
        return {}
