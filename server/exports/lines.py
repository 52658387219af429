"""One record of the log as one line of JSON, and back.

The readable form is all there is: no copy of the payload's bytes, so that whatever is changed in the line changes what
the fold reads.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from rankd.v1 import log_pb2 as pb
from server.exports.payloads import from_json, to_json
from server.fold.records import LogRecord

if TYPE_CHECKING:
    from google.protobuf.message import Message

PAYLOADS: dict[int, type[Message]] = {
    pb.KIND_DECISION: pb.Decision,
    pb.KIND_REWARD: pb.Reward,
    pb.KIND_ACTIVATION: pb.Activation,
    pb.KIND_CONFIG: pb.Config,
    pb.KIND_EPOCH: pb.Epoch,
    pb.KIND_PROMOTION: pb.Promotion,
    pb.KIND_FENCE: pb.Fence,
    pb.KIND_LEASE: pb.Lease,
    pb.KIND_ARTEFACT: pb.Artefact,
}
# What a record has only in a log that servers share; 0 is left out.
_SHARED = ("number", "partition", "lag_us")
KIND_NAMES = {value.number: value.name for value in pb.Kind.DESCRIPTOR.values}


def payload_of(record: LogRecord) -> Message | None:
    """The payload as its message; None where only bytes can be told (encrypted, or a kind without a message).

    Raises:
        LogError: the payload is not what the record's kind says.
    """
    kind = PAYLOADS.get(record.kind)
    if kind is None or record.key_id:
        return None
    return record.message(kind)


def line_of(record: LogRecord, payload: Message | None) -> dict[str, Any]:
    """Header and payload as one object; the header's names are those of rankd.v1.Header.

    In a log that servers share, `sequence` is the record's place in it, and `number` what its own journal calls it.
    """
    line: dict[str, Any] = {
        "sequence": record.sequence,
        "kind": KIND_NAMES.get(record.kind, record.kind),
        "app": record.app,
        "event_id": record.event_id,
        "origin_time_us": record.origin_us,
        "log_time_us": record.log_time_us,
        "node": record.node,
        "previous_sequence": record.previous,
    }
    line |= {name: value for name in _SHARED if (value := getattr(record, name))}
    if record.key_id:
        line["key_id"] = record.key_id
    if record.subject_id:
        line["subject_id"] = record.subject_id
    if payload is not None:
        line["payload"] = to_json(payload)
    elif record.payload:
        line["payload_base64"] = b64encode(record.payload).decode("ascii")
    return line


def record_of(line: dict[str, Any]) -> LogRecord:
    """The record whose `line_of` this is.

    Raises:
        ValueError: it is none; the message says why.
    """
    header = dict(line)
    payload, raw = header.pop("payload", None), header.pop("payload_base64", None)
    shared = {name: header.pop(name) for name in _SHARED if name in header}
    if not all(isinstance(value, int) and 0 <= value < 2**63 for value in shared.values()):
        raise ValueError(f"{', '.join(shared)} must be whole numbers")
    h = from_json(pb.Header, header)
    if not h.sequence:
        raise ValueError("it has no sequence")
    if payload is None:
        data = b"" if raw is None else b64decode(raw, validate=True)
    elif h.kind in PAYLOADS:
        data = from_json(PAYLOADS[h.kind], payload).SerializeToString()
    else:
        raise ValueError(
            f"a record of kind {KIND_NAMES.get(h.kind, h.kind)} has no readable payload"
        )
    record = LogRecord.from_proto(pb.Record(header=h, payload=data))
    return record._replace(**shared) if shared else record
