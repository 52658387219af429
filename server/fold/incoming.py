"""Reads what a topic holds: records of our own journals, and rewards of producers that have none.

Anybody may write rewards to an app's topic, as JSON or as a protobuf `rankd.v1.Record`, keyed by event_id:

    {"kind": "reward", "event_id": "...", "reward_id": "...", "value": 1.0}

and optionally "slot_id", "decision_id", and "time_ms", when it happened (milliseconds since 1970; without it, when the
broker got it). `reward_id` is required: it is what makes a second copy harmless.
"""

from __future__ import annotations

import json
import math
from typing import Any

from google.protobuf.message import DecodeError

from rankd.v1 import log_pb2 as pb
from server.fold.records import LogRecord, parse_decision_id

# Bytes of UTF-8 in an id: what a call may have, too.
_ID_BYTES = 256
# Far beyond any reward range; a greater value is noise.
_MAGNITUDE = 1e6
_EXTERNAL = {"kind", "event_id", "reward_id", "value", "slot_id", "decision_id", "time_ms"}


class Unreadable(Exception):  # noqa: N818  # what the message is
    """The message is no record of this app. Says why; it goes to the dead letters."""


def read_message(value: bytes, app: str, time_us: int) -> LogRecord:
    """The record in a message; `number` is its journal's own, 0 where it has none.

    Args:
        time_us: the broker's stamp.

    Raises:
        Unreadable: it is none.
    """
    if value[:1] == b"{":
        return _external(_from_json(value), app, time_us)
    try:
        record = pb.Record.FromString(value)
    except DecodeError as error:
        raise Unreadable("neither JSON nor a rankd.v1.Record") from error
    header = record.header
    if not header.node:
        return _external(_from_proto(record), app, time_us)
    if header.app not in ("", app):
        raise Unreadable(f"a record of app {header.app[:64]!r}")
    incarnation = header.node.rpartition(".")[2]
    if not (incarnation.isascii() and incarnation.isdecimal() and len(incarnation) < 19):
        raise Unreadable(f"node {header.node[:64]!r} has no incarnation")
    if len(header.node.encode()) > _ID_BYTES:
        raise Unreadable(f"node {header.node[:64]!r}... is longer than {_ID_BYTES} bytes")
    if not 0 < header.sequence < 2**63 or header.previous_sequence >= header.sequence:
        raise Unreadable(f"sequence {header.sequence} after {header.previous_sequence}")
    return LogRecord(
        0,
        header.kind,
        header.app,
        header.event_id,
        header.origin_time_us,
        time_us,
        header.node,
        header.previous_sequence,
        record.payload,
        header.key_id,
        header.subject_id,
        header.sequence,
        0,
        max(0, header.lag_us),
    )


def _from_json(value: bytes) -> dict[str, Any]:
    try:
        said = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Unreadable("begins like JSON and is none") from error
    if said.get("kind") != "reward":
        raise Unreadable('only {"kind": "reward", ...} may come from outside')
    unknown = sorted(said.keys() - _EXTERNAL)
    if unknown:
        raise Unreadable(f"unknown field {unknown[0][:64]!r}")
    return dict(said)


def _from_proto(record: pb.Record) -> dict[str, Any]:
    if record.header.kind != pb.KIND_REWARD:
        raise Unreadable("only rewards may come from outside")
    try:
        reward = pb.Reward.FromString(record.payload)
    except DecodeError as error:
        raise Unreadable("its payload is not a Reward") from error
    return {
        "event_id": record.header.event_id,
        "reward_id": reward.reward_id,
        "value": reward.value,
        "slot_id": reward.slot_id,
        "decision_id": reward.decision_id,
        "time_ms": record.header.origin_time_us / 1000 or None,
    }


def _external(said: dict[str, Any], app: str, time_us: int) -> LogRecord:
    event_id, reward_id = _text(said, "event_id"), _text(said, "reward_id")
    if not event_id or not reward_id:
        raise Unreadable("event_id and reward_id are required")
    decision_id = _text(said, "decision_id")
    if decision_id and parse_decision_id(decision_id) is None:
        raise Unreadable("decision_id is not one that Rank returned")
    origin = said.get("time_ms")
    origin_us = time_us if origin is None else round(1000 * _number(origin, "time_ms", 1e15))
    reward = pb.Reward(
        value=_number(said.get("value"), "value", _MAGNITUDE),
        slot_id=_text(said, "slot_id"),
        reward_id=reward_id,
        decision_id=decision_id,
    )
    payload = reward.SerializeToString()
    return LogRecord(0, pb.KIND_REWARD, app, event_id, origin_us, time_us, "", 0, payload)


def _text(said: dict[str, Any], name: str) -> str:
    text = said.get(name, "")
    try:
        good = len(text.encode()) <= _ID_BYTES and "\0" not in text
    except (AttributeError, UnicodeEncodeError):
        good = False
    if not good:
        raise Unreadable(f"{name} must be text of at most {_ID_BYTES} bytes of UTF-8 without NUL")
    return str(text)


def _number(value: object, name: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unreadable(f"{name} must be a number")
    if abs(value) > most or not math.isfinite(value):  # in this order: whole numbers may be huge
        raise Unreadable(f"{name} is not finite, or beyond {most:g}")
    return float(value)
