"""Factorization machines: pairs matter, new actions are known by their features, and what was not learned counts for nothing."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from policies import Interaction, ModelSpec
from policies.check_problem import Named, Request

if TYPE_CHECKING:
    from policies import Model

GROUPS = ("north", "south")


def request(user: int, items: range) -> Request:
    """A user of either group, among items of both."""
    context = {"user": Named(categories={"id": f"user-{user}", "group": GROUPS[user % 2]})}
    actions = {f"item-{i}": Named(categories={"group": GROUPS[i % 2]}) for i in items}
    return Request(f"event-{user}", context, actions)


def taught(rounds: int) -> Model:
    """Users like items of their own group."""
    random = Random(4)
    model = ModelSpec({"type": "fm"}, reward_range=(0.0, 1.0)).build()
    for _ in range(rounds):
        user, chosen = random.randrange(10), random.randrange(6)
        context, actions = request(user, range(6)).encode()
        pmf = np.full(6, 1 / 6)
        reward = float(user % 2 == chosen % 2)
        model.learn([Interaction(context, actions, chosen, pmf, reward)])
    return model


@pytest.fixture(scope="module")
def model() -> Model:
    return taught(1_500)


def expected(model: Model, user: int, items: range) -> list[float]:
    return list(map(float, model.policy.pmf(*request(user, items).encode(), 0).scores))


def test_it_learns_what_no_sum_of_single_features_can_tell(model: Model) -> None:
    for user in range(4):
        rewards = expected(model, user, range(6))
        own, other = rewards[user % 2 :: 2], rewards[1 - user % 2 :: 2]
        assert min(own) > max(other) + 0.3


def test_users_and_items_that_it_has_never_seen_are_known_by_their_groups(model: Model) -> None:
    for user in (100, 101):
        rewards = expected(model, user, range(200, 204))
        own, other = rewards[user % 2 :: 2], rewards[1 - user % 2 :: 2]
        assert min(own) > max(other) + 0.2


def test_what_was_never_learned_counts_for_nothing(model: Model) -> None:
    strange = {name: Named(categories={"group": name}) for name in ("east", "west")}
    east, west = model.policy.pmf(*Request("e", {}, strange).encode(), 0).scores
    assert east == west
