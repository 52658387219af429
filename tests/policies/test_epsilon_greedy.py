"""Epsilon-greedy by hand."""

from __future__ import annotations

import numpy as np
import pytest

from policies import EpsilonGreedy, Interaction, PolicyError
from policies.features import encode_actions, encode_context
from policies.pack import pack
from policies.registry import create, restore

CONTEXT = encode_context([])
ABC = encode_actions(["a", "b", "c"], [])
RANGE = (0.0, 1.0)


def policy(*rewards: tuple[str, float], **settings: float) -> EpsilonGreedy:
    made = create({"type": "epsilon_greedy", **settings}, RANGE)
    assert isinstance(made, EpsilonGreedy)
    pmf = np.ones(3) / 3
    made.learn([Interaction(CONTEXT, ABC, "abc".index(a), pmf, r) for a, r in rewards])
    return made


def test_untrained_all_are_alike() -> None:
    assert policy().pmf(CONTEXT, ABC, 0).pmf.tolist() == [1 / 3, 1 / 3, 1 / 3]


def test_means_and_epsilon() -> None:
    scored = policy(("a", 1.0), ("a", 0.0), ("b", 0.75), ("a", 0.5)).pmf(CONTEXT, ABC, 0)
    assert scored.scores == pytest.approx([0.5, 0.75, 0.0])
    assert scored.pmf == pytest.approx([0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3])


def test_the_prior_stands_for_actions_never_tried_only() -> None:
    optimist = policy(("a", 0.25), prior=1.0, epsilon=0.0)
    assert optimist.pmf(CONTEXT, ABC, 0).scores.tolist() == [0.25, 1.0, 1.0]
    assert optimist.pmf(CONTEXT, ABC, 0).pmf.tolist() == [0.0, 0.5, 0.5]


def test_the_mean_of_many() -> None:
    rewards = np.random.default_rng(1).random(1000).tolist()
    scored = policy(*(("b", r) for r in rewards)).pmf(CONTEXT, ABC, 0)
    assert scored.scores[1] == pytest.approx(np.mean(rewards), rel=1e-12)


@pytest.mark.parametrize(
    ("ids", "count", "mean"),
    [
        (["b", "a"], [1, 1], [0.0, 0.0]),
        (["a", "a"], [1, 1], [0.0, 0.0]),
        (["a"], [0], [0.0]),
        (["a"], [1], [np.nan]),
        (["a"], [1, 1], [0.0, 0.0]),
        (["a"], [1], [0.0, 0.0]),
        ("a", [1], [0.0]),
        (None, [1], [0.0]),
    ],
    ids=str,
)
def test_states_that_are_not_its_own_are_refused(
    ids: object, count: list[int], mean: list[float]
) -> None:
    state = pack(
        {"policy": "epsilon_greedy", "ids": ids},
        {"count": np.array(count, np.int64), "mean": np.array(mean, np.float64)},
    )
    with pytest.raises(PolicyError):
        restore({"type": "epsilon_greedy"}, RANGE, state)
