"""Topics in memory, as shippers and other producers write them."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rankd.v1 import log_pb2 as pb
from server.fold.merge import Message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.fold.records import LogRecord

APP = "shop"
MS = 1_000
START_US = 1_750_000_000_000 * MS


def folder(letter: str) -> str:
    """The UUID of a data folder."""
    return f"{letter * 8}-0000-0000-0000-000000000000"


@dataclass
class Topic:
    """What is in the partitions of one app's topic, each in order of its offsets."""

    partitions: list[list[Message]] = field(default_factory=list)
    now_us: int = START_US  # by the broker's clock
    lasts: dict[tuple[str, int], int] = field(default_factory=dict)  # chains: (folder, partition)

    @property
    def messages(self) -> list[Message]:
        """All, in the order in which the broker got them."""
        every = [m for partition in self.partitions for m in partition]
        return sorted(every, key=lambda m: (m.time_us, m.partition, m.offset))

    def write(self, value: bytes, partition: int = 0, time_us: int | None = None) -> Message:
        """Any bytes, stamped now."""
        while len(self.partitions) <= partition:
            self.partitions.append([])
        there = self.partitions[partition]
        at = self.now_us if time_us is None else time_us
        there.append(Message(partition, len(there), at, value))
        return there[-1]

    def send(
        self,
        number: int,
        kind: pb.Kind = pb.KIND_TICK,
        partition: int = 0,
        *,
        node: str = f"{folder('a')}.1",
        event_id: str = "",
        payload: bytes = b"",
        time_us: int | None = None,
        **header: Any,
    ) -> Message:
        """A journal's record; the chain goes on unless `previous_sequence` is given."""
        chain = (node.rpartition(".")[0], partition)
        header.setdefault("previous_sequence", self.lasts.get(chain, 0))
        header.setdefault("origin_time_us", self.now_us)
        self.lasts[chain] = max(number, self.lasts.get(chain, 0))
        app = "" if kind == pb.KIND_TICK else APP
        head = pb.Header(
            app=app, kind=kind, event_id=event_id, node=node, sequence=number, **header
        )
        value = pb.Record(header=head, payload=payload).SerializeToString()
        return self.write(value, partition, time_us)

    def config(self, number: int, partitions: int, **more: Any) -> Message:
        """A Config that says how many partitions there are, and nothing that a fold could use."""
        payload = pb.Config(json=json.dumps({"partitions": partitions})).SerializeToString()
        return self.send(number, pb.KIND_CONFIG, payload=payload, **more)

    def ship(self, records: Iterable[LogRecord], partitions: int = 1) -> Topic:
        """What a shipper sends of a journal, each record as soon as it is there."""
        for record in records:
            self.now_us = record.log_time_us // MS * MS
            for partition in targets(record, partitions):
                self.send(
                    record.sequence,
                    record.kind,
                    partition,
                    node=record.node,
                    event_id=record.event_id,
                    payload=record.payload,
                    origin_time_us=record.origin_us,
                    log_time_us=record.log_time_us,
                )
        return self


def targets(record: LogRecord, partitions: int) -> Iterable[int]:
    """Where a record goes: a Tick everywhere, what belongs to an event together, the rest to the first."""
    if record.kind == pb.KIND_TICK:
        return range(partitions)
    if record.kind in (pb.KIND_DECISION, pb.KIND_REWARD, pb.KIND_ACTIVATION):
        return (zlib.crc32(record.event_id.encode()) % partitions,)
    return (0,)
