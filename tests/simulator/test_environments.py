"""Worlds give what they say, and the same from the same generator."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from simulator.environments import (
    ENVIRONMENTS,
    ColdStart,
    Delayed,
    EnvironmentSpecError,
    Linear,
    Logistic,
    Nonstationary,
    Slates,
    environment_of,
    settings_of,
)

if TYPE_CHECKING:
    from simulator.environments import Environment, Round

ROUNDS = 4_000


def played(world: Environment, n: int = ROUNDS, seed: int = 1) -> list[Round]:
    return list(islice(world.rounds(np.random.default_rng(seed)), n))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_rewards_have_the_means_that_are_said(name: str) -> None:
    world = environment_of(f"{name}:actions=4,features=3")
    rounds = played(world)
    misses = np.array([each.rewards - each.mean for each in rounds])  # [n, K]
    error = misses.std(axis=0) / np.sqrt(ROUNDS)
    assert np.all(np.abs(misses.mean(axis=0)) < 4 * error)
    # And not only on average: where a reward is likely it comes more often.
    mean = np.array([each.mean for each in rounds])
    upper = mean > np.median(mean)
    for half in (upper, ~upper):
        assert abs(misses[half].mean()) < 4 * misses[half].std() / np.sqrt(ROUNDS)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_one_seed_gives_one_world_to_the_bit(name: str) -> None:
    world = environment_of(name)
    first, again, other = (played(world, 100, seed) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        assert a.mean.tobytes() == b.mean.tobytes()
        assert a.rewards.tobytes() == b.rewards.tobytes()
        assert a.context.value.tobytes() == b.context.value.tobytes()
        assert a.actions.ids == b.actions.ids
        assert a.delay == b.delay
    assert [a.mean.tolist() for a in first] != [b.mean.tolist() for b in other]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_rewards_lie_in_their_range(name: str) -> None:
    world = environment_of(name)
    low, high = world.reward_range
    rewards = np.array([each.rewards for each in played(world)])
    assert np.mean((rewards >= low) & (rewards <= high)) > 0.999


@pytest.mark.parametrize("name", ["linear", "nonstationary", "neural", "cold_start"])
def test_means_scatter_by_one_whatever_the_number_of_features(name: str) -> None:
    for features in (2, 20):
        worlds = [
            played(environment_of(f"{name}:features={features}"), 20, seed) for seed in range(100)
        ]
        means = np.array([each.mean for rounds in worlds for each in rounds])
        assert 0.75 < means.std() < 1.25


def test_what_is_seen_is_what_the_mean_is_made_of() -> None:
    """A regression on the contexts as encoded finds the means without any error."""
    rounds = played(Linear(actions=3, features=4, noise=0.5), 50)
    x = np.array([each.context.value for each in rounds])
    mean = np.array([each.mean for each in rounds])
    theta, *_ = np.linalg.lstsq(x, mean, rcond=None)
    assert np.allclose(x @ theta, mean, atol=1e-12)


def test_the_weights_change_when_they_should_and_only_then() -> None:
    rounds = played(Nonstationary(actions=3, features=4, every=50), 100)
    x = np.array([each.context.value for each in rounds])
    mean = np.array([each.mean for each in rounds])
    theta, *_ = np.linalg.lstsq(x[:50], mean[:50], rcond=None)
    assert np.allclose(x[:50] @ theta, mean[:50], atol=1e-12)
    assert not np.any(np.isclose(x[50:] @ theta, mean[50:], atol=1e-6).all(axis=1))


def test_a_delayed_world_is_the_same_world_later() -> None:
    plain = played(Logistic(), 200)
    late = played(Delayed(Logistic(), late=10, spread=5), 200)
    for a, b in zip(plain, late, strict=True):
        assert a.rewards.tobytes() == b.rewards.tobytes()
    assert {each.delay for each in plain} == {0}
    assert {each.delay for each in late} == set(range(10, 16))


def test_items_appear_and_vanish_with_their_features() -> None:
    rounds = played(ColdStart(actions=5, features=3, churn=0.1), 500)
    born = 0
    for a, b in pairwise(rounds):
        assert len(b.actions) == 5
        if a.actions.ids != b.actions.ids:
            born += 1
            assert a.actions.ids[1:] == b.actions.ids[:-1]  # the oldest goes
            assert b.actions.ids[-1] not in a.actions.ids
            assert np.array_equal(a.actions.of(1).value, b.actions.of(0).value)
            assert not np.array_equal(a.actions.of(0).value, b.actions.of(4).value)
    assert 25 <= born <= 80  # 50 expected
    assert len({each.actions.ids for each in played(ColdStart(churn=0), 50)}) == 1


def test_a_cascade_ends_at_the_first_click() -> None:
    rounds = played(Slates(actions=6, slots=3, bias=-1.0))
    ranking = [4, 0, 2]
    earned = np.array([each.earned(ranking) for each in rounds])
    expected = np.array([each.expected(ranking) for each in rounds])
    assert abs(np.mean(earned - expected)) < 4 * np.std(earned - expected) / np.sqrt(ROUNDS)
    for each in rounds[:200]:
        clicks = each.rewards[ranking].tolist()
        assert each.seen(ranking) == (clicks.index(1.0) + 1 if 1.0 in clicks else 3)
        assert each.best() >= each.expected(ranking)


def test_a_single_slot_is_seen_whatever_it_pays() -> None:
    each = played(Linear(), 1)[0]
    assert each.seen([3]) == 1
    assert each.earned([3]) == each.rewards[3]
    assert each.best() == max(each.mean)


def test_specs() -> None:
    assert environment_of("linear:actions=20,noise=1") == Linear(actions=20, noise=1.0)
    assert environment_of("delayed:of=logistic,late=7,actions=3") == Delayed(Logistic(3), 7)
    assert settings_of(Delayed) == {"of": "linear", "late": 100, "spread": 0}


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("liner", "no environment or data set 'liner'"),
        ("linear:arms=3", "no setting 'arms'; known are actions, features, noise"),
        ("linear:actions=2.5", "must be a whole number"),
        ("linear:actions=true", "must be a whole number"),
        ("linear:noise=loud", "must be a number"),
        ("linear:noise=.nan", "at least 0"),
        ("linear:actions=0", "at least 1"),
        ("linear:actions", "name=value"),
        ("linear:noise={", "is no value"),
        ("cold_start:churn=2", r"must be in \[0, 1\]"),
        ("slates:slots=11", "11 slots for 10 actions"),
        ("delayed:of=moon", "'moon'"),
        ("delayed:late=-1", "at least 0"),
        ("logistic:bias=.inf", "finite"),
    ],
)
def test_what_cannot_be_is_refused_with_its_spec(spec: str, word: str) -> None:
    with pytest.raises(EnvironmentSpecError, match=word) as caught:
        environment_of(spec)
    assert str(caught.value).startswith(f"{spec}: ")
