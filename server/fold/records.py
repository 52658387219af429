"""One record of the log, as every part of rankd sees it."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple, TypeVar

from google.protobuf.message import Message

from rankd.v1 import log_pb2 as pb

M = TypeVar("M", bound=Message)


class LogError(Exception):
    """The log cannot be read on as it is: a hole, a payload that is no message, a state that does not match.

    Never skipped and never retried: somebody has to look.
    """


class LogRecord(NamedTuple):
    """Header and payload of one record, and its place in the log.

    `sequence` is the number of records merged up to and including this one: what model versions count. In the log of
    one journal it is also the journal's own number.
    """

    sequence: int
    kind: pb.Kind
    app: str
    event_id: str
    origin_us: int  # microseconds since 1970, clock of the process that saw it
    log_time_us: int  # microseconds since 1970, given by the journal, never falling
    node: str
    previous: int
    payload: bytes
    key_id: str = ""
    subject_id: str = ""
    # Only where servers share a log: what the journal that wrote the record calls it, the partition that it came by,
    # and how long it had waited to be sent there (microseconds).
    number: int = 0
    partition: int = 0
    lag_us: int = 0

    @property
    def place(self) -> tuple[str, int]:
        """(node, the journal's own number): a decision_id, taken apart."""
        return self.node, self.number or self.sequence

    @property
    def folder(self) -> str:
        """UUID of the data folder that wrote it; empty for producers that have none."""
        return self.node.rpartition(".")[0]

    @property
    def decision_id(self) -> str:
        """What RankReply.decision_id says of this record."""
        return f"{self.node}:{self.number or self.sequence}"

    def decision(self) -> pb.Decision:
        """The payload of a KIND_DECISION record. Raises LogError: see `message`."""
        return self.message(pb.Decision)

    def message(self, kind: type[M]) -> M:
        """The payload as that message.

        Raises:
            LogError: it is none.
        """
        try:
            return kind.FromString(self.payload)
        except Exception as error:
            name = kind.DESCRIPTOR.name
            raise LogError(f"record {self.sequence}: its payload is not a {name}") from error

    def to_proto(self) -> pb.Record:
        header = pb.Header(
            app=self.app,
            kind=self.kind,
            event_id=self.event_id,
            origin_time_us=self.origin_us,
            node=self.node,
            sequence=self.sequence,
            previous_sequence=self.previous,
            key_id=self.key_id,
            subject_id=self.subject_id,
            log_time_us=self.log_time_us,
        )
        return pb.Record(header=header, payload=self.payload)

    @classmethod
    def from_proto(cls, record: pb.Record) -> LogRecord:
        h = record.header
        return cls(
            h.sequence,
            h.kind,
            h.app,
            h.event_id,
            h.origin_time_us,
            h.log_time_us,
            h.node,
            h.previous_sequence,
            record.payload,
            h.key_id,
            h.subject_id,
        )


def parse_decision_id(text: str) -> tuple[str, int] | None:
    """(node, sequence), or None where the text is no decision_id.

    >>> parse_decision_id("node.1:42"), parse_decision_id("node.1"), parse_decision_id("node.1:9223372036854775808")
    (('node.1', 42), None, None)
    """
    node, _, digits = text.rpartition(":")
    # At most 19 digits: the joiner keeps sequences as 64-bit integers.
    if not (node and digits.isascii() and digits.isdecimal() and len(digits) < 20):
        return None
    sequence = int(digits)
    return (node, sequence) if sequence < 2**63 else None


def event_key(event_id: str) -> bytes:
    """16 bytes that stand for an event in the joiner's index: 2^64 events before a clash is likely."""
    return blake2b(event_id.encode(), digest_size=16, person=b"rankd.event").digest()
