"""Messages survive JSON to the bit."""

from __future__ import annotations

import json
import random
import struct

import pytest

from rankd.v1 import log_pb2 as pb
from server.exports.payloads import from_json, to_json


def _through_json(message: pb.Decision) -> pb.Decision:
    return from_json(pb.Decision, json.loads(json.dumps(to_json(message))))


def test_doubles_keep_every_bit() -> None:
    rng = random.Random(7)
    values = [0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3, 1e22, 123456789.0]
    while len(values) < 2_000:
        (value,) = struct.unpack("<d", rng.randbytes(8))
        if value == value and abs(value) != float("inf"):
            values.append(value)
    message = pb.Decision(pmf=values)
    assert _through_json(message).SerializeToString() == message.SerializeToString()


def test_a_reward_of_minus_zero_stays_one() -> None:
    reward = pb.Reward(value=-0.0)
    again = from_json(pb.Reward, json.loads(json.dumps(to_json(reward))))
    assert again.SerializeToString() == reward.SerializeToString()


def test_every_field_of_a_decision_survives() -> None:
    message = pb.Decision(
        action_ids=["|", "", "\0", "\u2028", "🙂"],
        excluded_ids=["|"],
        slot_ids=["top"],
        defer_activation=True,
        pmf=[0.0, 1.0],
        ranking=[1, 0],
        slot_probabilities=[1.0],
        sampler="per-slot",
        slot_pmfs=[0.0, 1.0],
        base_probabilities=[0.5, 0.25],
        epoch=2**64 - 1,
        model_version=2**53 + 1,
        mode=pb.MODE_APPRENTICE,
        request_hash=bytes(range(256)),
        preferred=3,
    )
    message.context.add(
        namespace="u", vector_names=["v"], vector_sizes=[1], vector_data=b"\0\xff\0\xff"
    )
    message.action_features.add(numeric_counts=[0, 1], numeric_names=["x"], numeric_values=[-1.5])
    unset = {field.name for field in message.DESCRIPTOR.fields} - set(to_json(message))
    assert not unset, f"the test leaves {unset} empty"
    assert _through_json(message) == message


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"pmg": [1.0]}, "pmg"),
        ({"pmf": ["x"]}, "real number"),
        ({"ranking": [-1]}, "range"),
        ({"mode": "MODE_WRONG"}, "MODE_WRONG"),
        ({"request_hash": "?"}, "base64"),
        ({"request_hash": 3}, "bytes"),
        ({"context": [{"vector_data": 1}]}, "bytes"),
        ({"context": [3]}, "int"),
        ([], "list"),
    ],
)
def test_what_is_no_message_is_refused(values: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        from_json(pb.Decision, values)
