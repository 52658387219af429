"""A policy as it is served: the floor, the order, and what a model refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import (
    ActionSet,
    Features,
    Interaction,
    Model,
    ModelSpec,
    PolicyError,
    PolicySettings,
    Scored,
    Uniform,
)
from policies.features import encode_actions, encode_context
from policies.pack import pack
from policies.standardise import Standardiser
from rankd.v1.features_pb2 import Features as Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREEDY = {"type": "epsilon_greedy", "epsilon": 0.0}
CONTEXT = encode_context([])


class Fixed(Uniform):
    """A policy that answers what it is told, whatever it is asked."""

    def __init__(self, pmf: list[float], scores: list[float] | None = None) -> None:
        super().__init__(PolicySettings(), (0.0, 1.0))
        self.answer = Scored(np.array(pmf), np.array(scores or pmf))

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        return self.answer


def model_of(policy: Fixed, min_exploration: float = 0.0) -> Model:
    spec = ModelSpec({"type": "uniform"}, min_exploration=min_exploration)
    return Model(spec, policy, Standardiser())


def interaction(ids: str, chosen: str, reward: float, context: Features = CONTEXT) -> Interaction:
    pmf: NDArray[np.float64] = np.full(len(ids), 1 / len(ids))
    return Interaction(context, encode_actions(list(ids), []), ids.index(chosen), pmf, reward)


def test_the_floor_by_hand() -> None:
    """A pmf of 0, 1 with a floor of 0.1: 0.9 * 0 + 0.1 / 2 and 0.9 * 1 + 0.1 / 2."""
    scored = model_of(Fixed([0.0, 1.0]), 0.1).pmf(CONTEXT, encode_actions(["a", "b"], []), 0)
    assert scored.pmf == pytest.approx([0.05, 0.95])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50).filter(sum), st.floats(0, 1))
def test_each_action_has_its_share_of_the_floor(weights: list[float], floor: float) -> None:
    pmf = (np.array(weights) / sum(weights)).tolist()
    actions = encode_actions([f"{k:03}" for k in range(len(pmf))], [])
    scored = model_of(Fixed(pmf), floor).pmf(CONTEXT, actions, 0)
    assert scored.pmf.min() >= floor / len(pmf) * (1 - 1e-12)
    assert scored.pmf == pytest.approx((1 - floor) * np.array(pmf) + floor / len(pmf))
    assert abs(scored.pmf.sum() - 1) <= 1e-12


def test_small_errors_of_a_sum_are_divided_away() -> None:
    scored = model_of(Fixed([0.5, 0.499])).pmf(CONTEXT, encode_actions(["a", "b"], []), 0)
    assert scored.pmf == pytest.approx([0.5 / 0.999, 0.499 / 0.999], rel=1e-12)


@pytest.mark.parametrize(
    "pmf",
    [[0.5, 0.4], [0.7, 0.7], [1.5, -0.5], [np.nan, 1.0], [np.inf, 0.0], [0.0, 0.0], [1.0]],
    ids=str,
)
def test_what_is_no_pmf_is_refused_not_mended(pmf: list[float]) -> None:
    with pytest.raises(PolicyError, match="probabilities"):
        model_of(Fixed(pmf)).pmf(CONTEXT, encode_actions(["a", "b"], []), 0)


def test_the_policy_sees_actions_by_id_and_the_caller_in_its_own_order() -> None:
    model = model_of(Fixed([0.5, 0.3, 0.2], [3.0, 2.0, 1.0]))
    scored = model.pmf(CONTEXT, encode_actions(["b", "c", "a"], []), 0)
    assert scored.pmf.tolist() == [0.3, 0.2, 0.5]
    assert scored.scores.tolist() == [2.0, 1.0, 3.0]


def test_the_chosen_action_is_the_one_that_learns() -> None:
    model = ModelSpec(GREEDY, min_exploration=0.0).build()
    model.learn([interaction("cab", "c", 1.0)])
    assert model.pmf(CONTEXT, encode_actions(["a", "b", "c"], []), 0).pmf.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reward": float("nan")}, "reward: is nan"),
        ({"reward": float("-inf")}, "reward: is -inf"),
        ({"chosen": 2}, "chosen: is 2 among 2"),
        ({"chosen": -1}, "chosen: is -1"),
        ({"pmf": np.ones(3) / 3}, "3 probabilities"),
        ({"pmf": np.array([0.0, 1.0])}, r"pmf\[0\]: .* is 0.0"),
        ({"pmf": np.array([np.nan, 1.0])}, r"pmf\[0\]: .* is nan"),
        ({"pmf": np.array([1.1, 0.0])}, r"pmf\[0\]: .* is 1.1"),
    ],
)
def test_poison_is_refused_before_anything_is_learned(
    change: dict[str, object], words: str
) -> None:
    model = ModelSpec(GREEDY).build()
    before = model.state()
    fields = {"context": CONTEXT, "actions": encode_actions(["a", "b"], []), "chosen": 0}
    bad = Interaction(**{**fields, "pmf": np.ones(2) / 2, "reward": 1.0, **change})  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=words):
        model.learn([interaction("ab", "a", 1.0), bad])
    assert model.state() == before


def test_moments_move_first_then_the_policy_learns_standardised() -> None:
    """The second x of 1, 3 is standardised by mean 2 and deviation 1, so it is learned as 1."""
    linucb = {"type": "linucb", "alpha": 0.0}
    spec = ModelSpec(linucb, min_exploration=0.0)
    contexts = [encode_context([Message(numeric_names=["x"], numeric_values=[x])]) for x in (1, 3)]
    model = spec.build()
    model.learn([interaction("a", "a", 1.0, context) for context in contexts])
    raw = ModelSpec(linucb, standardise=False).build()
    raw.learn(
        [interaction("a", "a", 1.0, contexts[0].with_value(np.array([x]))) for x in (0.0, 1.0)]
    )
    assert model.policy.state() == raw.policy.state()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"min_exploration": -0.1}, "min_exploration: is -0.1"),
        ({"min_exploration": 1.1}, "min_exploration"),
        ({"min_exploration": float("nan")}, "min_exploration"),
        ({"reward_range": (1.0, 1.0)}, "reward_range"),
        ({"reward_range": (1.0, 0.0)}, "reward_range"),
        ({"reward_range": (0.0, float("inf"))}, "reward_range"),
        ({"reward_range": (float("nan"), 1.0)}, "reward_range"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        ModelSpec({"type": "uniform"}, **fields)  # type: ignore[arg-type]


def test_states_that_are_not_of_this_spec_are_refused() -> None:
    spec = ModelSpec({"type": "uniform"})
    state = spec.build().state()
    assert spec.load(state).state() == state
    with pytest.raises(PolicyError, match="a state of 'uniform', expected 'epsilon_greedy'"):
        ModelSpec(GREEDY).load(state)
    with pytest.raises(PolicyError, match="format 2"):
        spec.load(pack({"format": 2, "type": "uniform"}, {}))
    with pytest.raises(PolicyError):
        spec.load(pack({"format": 1, "type": "uniform"}, {}))
