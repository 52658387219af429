"""What a topic holds is a record, or it is said why not; nothing else comes of any bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankd.v1 import log_pb2 as pb
from server.fold.incoming import Unreadable, read_message
from server.fold.records import LogRecord

APP = "shop"
NOW = 1_750_000_000_000_000
NODE = "00000000-0000-0000-0000-00000000000a.3"
REWARD: dict[str, Any] = {"kind": "reward", "event_id": "e", "reward_id": "r", "value": 0.5}


def of_json(**changed: Any) -> LogRecord:
    said = {name: value for name, value in {**REWARD, **changed}.items() if value is not ...}
    return read_message(json.dumps(said).encode(), APP, NOW)


def of_journal(payload: bytes = b"", **header: Any) -> LogRecord:
    header = {"app": APP, "kind": pb.KIND_REWARD, "node": NODE, "sequence": 7, **header}
    record = pb.Record(header=pb.Header(**header), payload=payload)
    return read_message(record.SerializeToString(), APP, NOW)


def test_a_reward_as_json() -> None:
    record = of_json()
    assert record == LogRecord(
        0, pb.KIND_REWARD, APP, "e", NOW, NOW, "", 0, record.payload, number=0
    )
    assert record.message(pb.Reward) == pb.Reward(value=0.5, reward_id="r")
    more = of_json(slot_id="top", decision_id=f"{NODE}:12", time_ms=1_749_999_999_999.5, value=1)
    assert more.origin_us == 1_749_999_999_999_500
    assert more.message(pb.Reward) == pb.Reward(
        value=1, reward_id="r", slot_id="top", decision_id=f"{NODE}:12"
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "decision"}, "only"),
        ({"kind": ...}, "only"),
        ({"event_id": ...}, "required"),
        ({"event_id": ""}, "required"),
        ({"event_id": 5}, "event_id must be text"),
        ({"event_id": "e" * 257}, "event_id must be text of at most 256"),
        ({"event_id": "a\0b"}, "without NUL"),
        ({"event_id": "\ud800"}, "UTF-8"),
        ({"reward_id": ...}, "required"),
        ({"reward_id": ["r"]}, "reward_id must be text"),
        ({"slot_id": None}, "slot_id must be text"),
        ({"value": ...}, "value must be a number"),
        ({"value": "1"}, "value must be a number"),
        ({"value": True}, "value must be a number"),
        ({"value": float("nan")}, "not finite"),
        ({"value": float("-inf")}, "not finite"),
        ({"value": 1e7}, "beyond 1e"),
        ({"value": 10**400}, "beyond 1e"),
        ({"decision_id": "none"}, "not one that Rank returned"),
        ({"time_ms": "now"}, "time_ms must be a number"),
        ({"time_ms": 1e300}, "time_ms is not finite"),
        ({"valeu": 1}, "unknown field 'valeu'"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_reward_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        of_json(**changed)


@pytest.mark.parametrize(
    "value",
    [b"{", b"{]", b'{"a":' * 100_000, b'{"\xff": 1}', b'{"value": 1' + b"0" * 10_000 + b"}"],
)
def test_broken_json_is_told(value: bytes) -> None:
    with pytest.raises(Unreadable, match="JSON"):
        read_message(value, APP, NOW)


def test_a_reward_as_protobuf() -> None:
    reward = pb.Reward(value=-0.5, reward_id="r", slot_id="top", decision_id=f"{NODE}:1")
    header = pb.Header(kind=pb.KIND_REWARD, event_id="e", origin_time_us=1_700_000_000_123_457)
    sent = pb.Record(header=header, payload=reward.SerializeToString())
    record = read_message(sent.SerializeToString(), APP, NOW)
    assert (record.app, record.event_id, record.origin_us) == (APP, "e", 1_700_000_000_123_457)
    assert (record.node, record.number) == ("", 0)
    assert record.message(pb.Reward) == reward
    sent.header.origin_time_us = 0
    assert read_message(sent.SerializeToString(), APP, NOW).origin_us == NOW
    sent.header.kind = pb.KIND_DECISION
    with pytest.raises(Unreadable, match="only rewards"):
        read_message(sent.SerializeToString(), APP, NOW)
    sent.header.kind, sent.payload = pb.KIND_REWARD, b"\xff"
    with pytest.raises(Unreadable, match="not a Reward"):
        read_message(sent.SerializeToString(), APP, NOW)


def test_a_journal_s_record() -> None:
    record = of_journal(
        b"payload", event_id="e", previous_sequence=5, origin_time_us=9, lag_us=11, key_id="k"
    )
    expected = (pb.KIND_REWARD, APP, "e", 9, NOW, NODE, 5, b"payload", "k", "", 7, 0, 11)
    assert record == LogRecord(0, *expected)
    assert of_journal(lag_us=-5).lag_us == 0
    assert of_journal(app="", kind=pb.KIND_TICK).app == ""


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"app": "other"}, "of app 'other'"),
        ({"node": "no-incarnation"}, "has no incarnation"),
        ({"node": "f" * 256 + ".1"}, "is longer than"),
        ({"node": f"folder.{'1' * 19}"}, "has no incarnation"),
        ({"node": "folder.²"}, "has no incarnation"),
        ({"sequence": 0}, "sequence 0"),
        ({"sequence": 2**63}, "sequence 9223372036854775808"),
        ({"previous_sequence": 7}, "sequence 7 after 7"),
    ],
    ids=str,
)
def test_what_no_journal_writes_is_told(header: dict[str, Any], said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        of_journal(**header)


def test_nothing_at_all_is_told() -> None:
    with pytest.raises(Unreadable):
        read_message(b"", APP, NOW)


@settings(max_examples=500)
@given(st.binary() | st.builds(lambda b: b"{" + b, st.binary()))
def test_any_bytes_are_a_record_or_unreadable(value: bytes) -> None:
    try:
        record = read_message(value, APP, NOW)
    except Unreadable:
        return
    assert record.app in ("", APP)
    assert record.event_id or record.node


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(st.sampled_from(sorted({*REWARD, "slot_id", "decision_id", "time_ms"})), json_values)
def test_any_json_in_a_reward_is_taken_or_unreadable(name: str, value: object) -> None:
    try:
        record = of_json(**{name: value})
    except Unreadable:
        return
    assert abs(record.message(pb.Reward).value) <= 1e6
    assert -(2**63) <= record.origin_us < 2**63
