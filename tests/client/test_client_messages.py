"""Requests, and decisions made without the service."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from rankd import Decision, Slot
from rankd.errors import InvalidArgument
from rankd.messages import decision_of, default_decision, rank_request, reward_request
from rankd.v1 import decisions_pb2 as pb


def test_a_rank_request_says_what_was_asked() -> None:
    request = rank_request(
        {"age": 31},
        {"a": {"price": 2}, "b": None, "c": {}},
        app="shop",
        event_id="event-1",
        exclude=["b"],
        slots=("top", "side"),
        defer_activation=True,
    )
    assert request.app == "shop"
    assert request.event_id == "event-1"
    assert request.action_ids == ["a", "b", "c"]
    assert request.excluded_ids == ["b"]
    assert request.slot_ids == ["top", "side"]
    assert request.k == 0
    assert request.defer_activation
    assert [list(group.numeric_counts) for group in request.action_features] == [[1, 0, 0]]


def test_ids_are_made_where_none_is_given() -> None:
    events = {rank_request({}, ["a"]).event_id for _ in range(100)}
    rewards = {reward_request("e", 1.0).reward_id for _ in range(100)}
    assert len(events) == len(rewards) == 100
    assert {len(bytes.fromhex(made)) for made in events | rewards} == {16}  # 128 bits


def test_ids_that_are_given_are_kept() -> None:
    assert rank_request({}, ["a"], event_id="mine").event_id == "mine"
    assert reward_request("e", 1.0, reward_id="mine").reward_id == "mine"


def test_sets_of_ids_are_sent_in_one_order() -> None:
    request = rank_request({}, ["a", "b", "c"], exclude={"c", "a"})
    assert request.excluded_ids == ["a", "c"]


def test_k_may_be_none_or_an_int_of_numpy() -> None:
    assert rank_request({}, ["a"], k=None).k == 0
    assert rank_request({}, ["a"], k=np.int64(2)).k == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("args", "kind", "words"),
    [
        ({"actions": "abc"}, TypeError, "actions: is one str; give a list"),
        ({"actions": ["a", 2]}, TypeError, "actions[1]: is a int; must be a str"),
        ({"actions": {1: {}}}, TypeError, "actions[0]: is a int; must be a str"),
        ({"exclude": "a"}, TypeError, "exclude: is one str; give a list"),
        ({"slots": [None]}, TypeError, "slots[0]: is a NoneType; must be a str"),
        ({"event_id": 7}, TypeError, "event_id: is a int; must be a str"),
        ({"k": 1.5}, TypeError, "'float' object cannot be interpreted as an integer"),
        ({"k": -1}, InvalidArgument, "k: is -1; must be"),
        ({"k": 2**32}, InvalidArgument, "k: is 4294967296; must be"),
    ],
    ids=repr,
)
def test_a_wrong_argument_is_named(args: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        rank_request({}, **{"actions": ["a", "b"], **args})
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10**400])
def test_a_reward_is_finite(value: float) -> None:
    with pytest.raises(
        InvalidArgument, match=r"^value: is -?(nan|inf); a reward is a finite number"
    ):
        reward_request("e", value)


def test_a_reward_echoes_the_decision() -> None:
    reply = pb.RankReply(event_id="e", decision_id="node.1:7", action_id="a", ranking=["a"])
    decision = decision_of(rank_request({}, ["a"]), reply)
    assert reward_request(decision, 1.0).decision_id == "node.1:7"
    assert reward_request(decision, 1.0).event_id == "e"
    assert reward_request("e", 1.0).decision_id == ""


def test_a_reward_is_for_a_decision_or_an_id() -> None:
    with pytest.raises(TypeError, match="a NoneType is neither a Decision nor an event_id"):
        reward_request(None, 1.0)  # type: ignore[arg-type]


def test_a_reply_becomes_a_decision() -> None:
    reply = pb.RankReply(
        event_id="e",
        decision_id="node.1:7",
        action_id="b",
        ranking=["b", "a", "c"],
        probabilities=[0.5, 0.25, 0.25],
        slot_ids=["top", "side"],
        slot_action_ids=["b", "a"],
        sampler="plackett-luce",
        slot_probabilities=[0.5, 0.75],
        epoch=3,
        model_version=90,
    )
    decision = decision_of(rank_request({}, ["a", "b", "c"], app="shop"), reply)
    assert decision == Decision(
        app="shop",
        event_id="e",
        decision_id="node.1:7",
        action="b",
        ranking=("b", "a", "c"),
        probabilities=(0.5, 0.25, 0.25),
        slots=(Slot("top", "b", 0.5), Slot("side", "a", 0.75)),
        sampler="plackett-luce",
        epoch=3,
        model_version=90,
        is_default=False,
    )
    assert decision.propensity == 0.5


def test_a_decision_can_be_kept_for_later() -> None:
    """Rewards often come in another process: a decision goes there pickled, or as a key."""
    decision = default_decision(rank_request({}, ["a", "b"], k=2), "a")
    assert pickle.loads(pickle.dumps(decision)) == decision
    assert len({decision, decision}) == 1
    with pytest.raises(FrozenInstanceError):
        decision.action = "b"  # type: ignore[misc]


def test_a_default_decision_shows_the_action_first_and_claims_no_probability() -> None:
    request = rank_request({}, ["a", "b", "c", "d"], event_id="e", exclude=["b"], slots=["x", "y"])
    decision = default_decision(request, "c")
    assert decision.is_default
    assert decision.event_id == "e"
    assert decision.ranking == ("c", "a", "d")
    assert decision.slots == (Slot("x", "c", None), Slot("y", "a", None))
    assert decision.probabilities == ()
    assert decision.propensity is None


def test_a_default_decision_names_its_slots_as_the_service_would() -> None:
    one = default_decision(rank_request({}, ["a", "b"], k=1), "b")
    two = default_decision(rank_request({}, ["a", "b"], k=2), "b")
    assert one.slots == ()
    assert two.slots == (Slot("0", "b", None), Slot("1", "a", None))
