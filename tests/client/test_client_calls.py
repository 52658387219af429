"""The client and a real service."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rankd.errors import AlreadyExists, BatchError, InvalidArgument, NotFound

if TYPE_CHECKING:
    from rankd import Client
    from tests.client.conftest import Connect

ACTIONS = ["a", "b", "c"]


def test_a_decision_is_one_of_the_actions(client: Client) -> None:
    decision = client.rank({"age": 31}, ACTIONS)
    assert sorted(decision.ranking) == ACTIONS
    assert decision.action == decision.ranking[0]
    assert len(decision.probabilities) == len(ACTIONS)
    assert sum(decision.probabilities) == pytest.approx(1)
    assert 0 < (decision.propensity or 0) <= 1
    assert decision.decision_id
    assert not decision.is_default


def test_every_kind_of_feature_is_accepted(client: Client) -> None:
    context = {
        "age": 31,
        "score": 0.5,
        "vip": True,
        "city": "Rome",
        "tags": ["x", "y"],
        "taste": [0.1, 0.2],
        "unknown": None,
        "user": {"visits": 3, "face": np.array([1, 2, 3])},
        "name | with: all sorts\nof things": 1,
    }
    actions = {
        "a": {"price": 1, "colour": "red", "image": {"pixels": [1.0, 2.0]}},
        "b": {"price": 2.5, "sale": True, "image": {"pixels": [3.0, 4.0]}},
        "c": {"tags": {"x", "y"}, "image": {"pixels": np.array([5, 6])}},
    }
    assert client.rank(context, actions).action in actions


def test_excluded_actions_are_neither_chosen_nor_ranked(client: Client) -> None:
    decision = client.rank({}, ACTIONS, exclude=["a", "c"])
    assert decision.ranking == ("b",)
    assert decision.propensity == pytest.approx(1)


def test_slots_get_an_action_each(client: Client) -> None:
    decision = client.rank({}, ACTIONS, slots=["top", "side"])
    assert [slot.name for slot in decision.slots] == ["top", "side"]
    assert tuple(slot.action for slot in decision.slots) == decision.ranking[:2]
    assert all(0 < (slot.probability or 0) <= 1 for slot in decision.slots)


def test_k_draws_numbered_slots(client: Client) -> None:
    decision = client.rank({}, ACTIONS, k=2)
    assert [slot.name for slot in decision.slots] == ["0", "1"]
    assert len({slot.action for slot in decision.slots}) == 2


def test_a_single_action_needs_no_slot(client: Client) -> None:
    assert client.rank({}, ACTIONS).slots == ()
    assert client.rank({}, ACTIONS, k=1).slots == ()


def test_an_unknown_excluded_action_is_refused(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="excluded_ids"):
        client.rank({}, ACTIONS, exclude=["z"])


def test_events_without_an_id_get_ids_of_their_own(client: Client) -> None:
    assert client.rank({}, ACTIONS).event_id != client.rank({}, ACTIONS).event_id


def test_the_same_event_gets_the_same_decision(client: Client) -> None:
    event_id = client.rank({}, ACTIONS).event_id + "-again"
    first = client.rank({"age": 31}, ACTIONS, event_id=event_id)
    assert first.event_id == event_id
    assert client.rank({"age": 31}, ACTIONS, event_id=event_id) == first


def test_another_content_for_the_same_event_is_refused(client: Client) -> None:
    first = client.rank({"age": 31}, ACTIONS)
    with pytest.raises(AlreadyExists) as caught:
        client.rank({"age": 32}, ACTIONS, event_id=first.event_id)
    assert caught.value.event_id == first.event_id


@pytest.mark.parametrize("actions", [[], ["a", "a"], ["a", ""]])
def test_wrong_actions_are_refused(client: Client, actions: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="action_ids"):
        client.rank({}, actions)


def test_a_reward_takes_a_decision_or_an_event_id(client: Client) -> None:
    decision = client.rank({}, ACTIONS, slots=["top", "side"])
    first = client.reward(decision, 1.0)
    second = client.reward(decision.event_id, 0.5, reward_id="mine", age=1.5)
    third = client.reward(decision, 0, slot="side")
    assert first is not None
    assert second is not None
    assert third is not None
    assert first < second < third


def test_a_reward_out_of_range_is_refused(client: Client) -> None:
    with pytest.raises(InvalidArgument) as caught:
        client.reward("event-1", 1e12, reward_id="mine")
    assert caught.value.event_id == "event-1"
    assert caught.value.reward_id == "mine"


def test_a_deferred_decision_is_activated(client: Client) -> None:
    decision = client.rank({}, ACTIONS, defer_activation=True)
    first = client.activate(decision)
    second = client.activate(decision.event_id)
    assert first is not None
    assert second is not None


def test_an_unknown_app_is_not_found(
    client: Client, connect: Connect, service_address: str
) -> None:
    with pytest.raises(NotFound, match="no-such-app"):
        client.rank({}, ACTIONS, app="no-such-app")
    with pytest.raises(NotFound, match="no-such-app"):
        connect(service_address, app="no-such-app").rank({}, ACTIONS)


def test_many_decisions_come_in_order(client: Client) -> None:
    decisions = client.rank_many(
        [{"context": {"n": i}, "actions": [f"{i}-a", f"{i}-b"], "k": 1} for i in range(20)]
    )
    assert [decision.action.split("-")[0] for decision in decisions] == [str(i) for i in range(20)]
    assert len({decision.event_id for decision in decisions}) == 20


def test_many_decisions_are_stored_like_single_ones(client: Client) -> None:
    [many] = client.rank_many([{"context": {"age": 31}, "actions": ACTIONS}])
    assert client.rank({"age": 31}, ACTIONS, event_id=many.event_id) == many


def test_none_is_none(client: Client) -> None:
    assert client.rank_many([]) == []


def test_a_clash_within_many_leaves_the_others(client: Client) -> None:
    first = client.rank({}, ACTIONS)
    with pytest.raises(BatchError, match=r"^1 of 3 requests failed; requests\[1\]: ") as caught:
        client.rank_many(
            [
                {"context": {}, "actions": ACTIONS},
                {"context": {"other": 1}, "actions": ACTIONS, "event_id": first.event_id},
                {"context": {}, "actions": ACTIONS},
            ]
        )
    kinds = Counter(type(result).__name__ for result in caught.value.results)
    assert kinds == {"Decision": 2, "AlreadyExists": 1}
    assert isinstance(caught.value.results[1], AlreadyExists)
    assert caught.value.results[1].event_id == first.event_id


def test_one_malformed_request_refuses_all(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="action_ids"):
        client.rank_many(
            [{"context": {}, "actions": ACTIONS}, {"context": {}, "actions": ["a", "a"]}]
        )
