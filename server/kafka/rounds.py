"""What the shipper sends at once: a round has one batch for each partition, all of which must be in Kafka before the next.

So a partition never has a record without those that its journal sent there before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.partitioner import murmur2

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from server.fold.records import LogRecord
    from server.kafka.sender import Place

# Records of a round: some 20 ms of work, and small enough for the clock of `lag_us` to be the same for all of it.
_MOST_RECORDS = 500
# Bytes of a message besides its payload, at most: app, event_id (twice), subject_id and numbers.
_OVERHEAD = 1024
# Kinds that belong to one event, all of which goes to one partition.
_OF_EVENT = {pb.KIND_DECISION, pb.KIND_REWARD, pb.KIND_ACTIVATION}


class Position:
    """How far a journal has been copied: up to which record, and what each partition got last."""

    def __init__(self, shipped: internal_pb2.Shipped) -> None:
        self.sequence = shipped.sequence
        self.sequences: dict[Place, int] = {}
        self.offsets: dict[Place, int] = {}  # only where something was sent
        places = (
            (topic, partition)
            for topic, count in zip(shipped.topics, shipped.partition_counts, strict=True)
            for partition in range(count)
        )
        for place, sequence, offset in zip(
            places, shipped.last_sequences, shipped.last_offsets, strict=True
        ):
            if sequence:
                self.sequences[place] = sequence
                self.offsets[place] = offset

    def message(self) -> internal_pb2.Shipped:
        shipped = internal_pb2.Shipped(sequence=self.sequence)
        for topic in sorted({topic for topic, _ in self.sequences}):
            count = 1 + max(partition for name, partition in self.sequences if name == topic)
            shipped.topics.append(topic)
            shipped.partition_counts.append(count)
            for partition in range(count):
                shipped.last_sequences.append(self.sequences.get((topic, partition), 0))
                shipped.last_offsets.append(self.offsets.get((topic, partition), -1))
        return shipped


@dataclass(slots=True)
class Round:
    """Records of the journal up to `through`, by the places that they go to, each with the one sent there before it."""

    through: int = 0
    records: int = 0
    copies: dict[Place, list[tuple[LogRecord, int]]] = field(default_factory=dict)


def places(
    record: LogRecord, topic: Callable[[str], str], apps: Sequence[str], partitions: int
) -> list[Place]:
    """Where a record goes.

    Args:
        apps: those of the configuration, which get what belongs to no app: Ticks, and the writer's farewell.
    """
    if not record.app:
        return [(topic(app), partition) for app in apps for partition in range(partitions)]
    if record.kind in _OF_EVENT:
        return [(topic(record.app), partition_of(record.event_id, partitions))]
    return [(topic(record.app), 0)]


def partition_of(event_id: str, partitions: int) -> int:
    """What Kafka's own partitioner says of a message with that key."""
    if partitions == 1:
        return 0
    return int(murmur2(event_id.encode()) & 0x7FFFFFFF) % partitions


def compose(
    records: Iterable[LogRecord],
    position: Position,
    route: Callable[[LogRecord], list[Place]],
    most_bytes: int,
) -> Round | None:
    """The round after that position, or None where there are no records.

    Args:
        most_bytes: of all its batches together, so of each of them too. A larger record has a round of its own.
    """
    chosen = Round()
    size = 0
    for record in records:
        to = route(record)
        size += len(to) * (len(record.payload) + _OVERHEAD)
        if chosen.records and (size > most_bytes or chosen.records == _MOST_RECORDS):
            break
        for place in to:
            copies = chosen.copies.setdefault(place, [])
            before = copies[-1][0].sequence if copies else position.sequences.get(place, 0)
            copies.append((record, before))
        chosen.through = record.sequence
        chosen.records += 1
    return chosen if chosen.records else None


def message(
    record: LogRecord, previous: int, now_us: int, late_us: int
) -> tuple[bytes | None, bytes]:
    """(key, value) of the message for one partition.

    Args:
        previous: the record that the same journal sent there before; 0 is none.
        now_us: the time on the journal's clock.
        late_us: how much later than now it may get there; counted as waiting.
    """
    copy = record.to_proto()
    copy.header.previous_sequence = previous
    copy.header.lag_us = max(0, now_us - record.log_time_us) + late_us
    return record.event_id.encode() or None, copy.SerializeToString()
