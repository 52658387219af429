"""Forgetting and priors of the linear policies: windows and discounts against ridge regression on the weighted rewards."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from policies import PolicyError
from policies.linear import kernels
from policies.linear.design import BIAS
from policies.pack import pack, unpack
from policies.registry import create, restore, same_shape
from tests.policies.sparse_events import action_set, features, interaction
from tests.policies.test_linucb import RANGE, Textbook, random_log, trained

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.linear.policy import LinearPolicy
    from tests.policies.sparse_events import Sparse

ORDER = [BIAS, 11, 12, 13, 21, 22]
MODELS = ["disjoint", "shared", "hybrid"]
Scores = tuple["NDArray[np.float64]", "NDArray[np.float64]"]


def policy(**settings: object) -> LinearPolicy:
    return create({"type": "linucb", **settings}, RANGE)  # type: ignore[return-value]


def posterior(made: LinearPolicy, context: Sparse, things: dict[str, Sparse]) -> Scores:
    return made._posterior(features(context), action_set(things))


class Weighted(Textbook):
    """A = sum of weight x x' + ridge * I, with weights that fall by `discount` with each call of `age`."""

    def age(self, discount: float) -> None:
        ridge = np.eye(len(self.order)) * self.ridge
        self.a, self.b = discount * (self.a - ridge) + ridge, discount * self.b

    def __init__(self, ridge: float) -> None:
        super().__init__(1.0, ridge, ORDER)
        self.ridge = ridge


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("window", [1, 7, 40])
def test_a_window_is_a_policy_that_learned_these_only(model: str, window: int) -> None:
    made = policy(model=model, window=window, ridge=0.5)
    log = random_log(100, dense=False)
    for t, (context, things, chosen, reward) in enumerate(log):
        made.learn([interaction(context, things, chosen, reward)])
        if t % 9:
            continue
        fresh = policy(model=model, ridge=0.5)
        fresh.learn([interaction(*each) for each in log[max(0, t + 1 - window) : t + 1]])
        for got, expected in zip(
            posterior(made, context, things), posterior(fresh, context, things), strict=True
        ):
            assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_rounding_errors_of_a_window_do_not_add_up() -> None:
    """All that was removed was huge; and every time that as many were removed as the window has, all is built anew."""
    made, fresh = policy(window=10), policy()
    random = Random(1)
    for t in range(300):
        scale = 1e4 if t < 285 else 1.0
        each = interaction({1: scale * random.gauss(0, 1), 2: 1.0}, {"a": {}}, "a", random.random())
        made.learn([each])
        if t >= 290:
            fresh.learn([each])
    for got, expected in zip(
        posterior(made, {1: 0.5}, {"a": {}}), posterior(fresh, {1: 0.5}, {"a": {}}), strict=True
    ):
        assert got == pytest.approx(expected, rel=1e-9)


def test_what_cannot_be_taken_out_exactly_is_not() -> None:
    """x of 1e5 leaves 1 - x' A^-1 x = 1e-10, and so but 6 of 16 digits."""
    made = policy(window=2)
    for value, reward in ((1e5, 1.0), (1.0, 0.0), (2.0, 1.0)):
        made.learn([interaction({1: value}, {"a": {}}, "a", reward)])
    fresh = policy(window=2)
    for value, reward in ((1.0, 0.0), (2.0, 1.0)):
        fresh.learn([interaction({1: value}, {"a": {}}, "a", reward)])
    assert made.state() == fresh.state(), "built anew from the two that are left"


@pytest.mark.parametrize("discount", [0.6, 0.9, 0.99])
def test_a_discount_by_hand_with_one_feature(discount: float) -> None:
    """The bias alone: 1 / variance = ridge + sum of weights, exactly, also while another action learns."""
    made = policy(discount=discount, ridge=2.0)
    weights, rewards = [0.0], [0.0]
    random = Random(2)
    things: dict[str, Sparse] = {"a": {}, "b": {}}
    for _ in range(60):
        chosen = random.choice("aabb")
        reward = random.random()
        made.learn([interaction({}, things, chosen, reward)])
        weights = [discount * weight for weight in weights]
        if chosen == "a":
            weights.append(1.0)
            rewards.append(reward)
        mean, variance = posterior(made, {}, things)
        assert 1.0 / variance[0] == pytest.approx(2.0 + sum(weights), rel=1e-9)
        expected = np.dot(weights, rewards) / (2.0 + sum(weights))
        assert mean[0] == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("discount", [0.9, 0.99])
def test_a_discounted_variance_is_never_too_small_nor_above_the_prior(discount: float) -> None:
    """Jensen's inequality, with several features; where the ridge has just been put back it is exact."""
    made, books = policy(discount=discount), {a: Weighted(1.0) for a in "abc"}
    ratios = []
    for context, things, chosen, reward in random_log(300):
        x = {a: {BIAS: 1.0, **context, **things[a]} for a in "abc"}
        _, variance = posterior(made, context, things)
        for k, a in enumerate("abc"):
            prior = float(books[a].x(x[a]) @ books[a].x(x[a]))
            exact = (books[a].score(x[a]) - books[a].mean(x[a])) ** 2
            assert exact * (1 - 1e-9) <= variance[k] <= prior * (1 + 1e-9)
            ratios.append(variance[k] / exact)
        made.learn([interaction(context, things, chosen, reward)])
        for book in books.values():
            book.age(discount)
        books[chosen].learn(x[chosen], reward)
    assert np.median(ratios) < 1.25


@pytest.mark.parametrize("model", MODELS)
def test_what_is_discounted_to_nothing_returns_to_the_prior(model: str) -> None:
    made, untrained = policy(model=model, discount=0.8), policy(model=model)
    old = {"a": {21: 1.0}, "b": {22: 2.0}}
    for _ in range(20):
        made.learn([interaction({11: 1.0}, old, "a", 1.0)])
    for t in range(1_000):  # 0.8^1000 is 1e-97: beyond where weights are raised
        made.learn([interaction({12: 1.0}, {"c": {}}, "c", float(t % 2))])
        if t in (150, 950):
            mean, variance = posterior(made, {11: 1.0}, {"a": old["a"]})
            assert np.isfinite(mean).all()
            before = posterior(untrained, {11: 1.0}, {"a": old["a"]})[1]
            assert variance[0] <= before[0] * (1 + 1e-9)
            if model == "disjoint":
                assert mean[0] == pytest.approx(0.0, abs=1e-9)
                assert variance[0] == pytest.approx(before[0], rel=1e-9)
    header, _ = unpack(made.state())
    assert header["ids"] == ([""] if model == "shared" else ["c"]), "a is forgotten"
    made.learn([interaction({11: 1.0}, old, "a", 1.0)])
    assert posterior(made, {11: 1.0}, {"a": old["a"]})[0][0] > 0.5


@pytest.mark.parametrize("how", [{"discount": 0.97}, {"window": 30}], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_the_compiler_changes_no_bit(
    model: str, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = set()
    for compiled in (True, False):
        monkeypatch.setattr(kernels, "COMPILED", compiled)
        states.add(trained(model=model, **how).state())
    assert len(states) == 1


@pytest.mark.parametrize("how", [{"discount": 0.99}, {"window": 80}], ids=str)
def test_it_follows_a_change_that_others_miss(how: dict[str, Any]) -> None:
    """a and b swap what they earn half way: who forgets earns as before, who does not keeps believing the first half."""

    def late_reward(**settings: object) -> float:
        made, random, earned = policy(alpha=0.5, **settings), Random(5), []
        c, things = features({}), {"a": {21: 1.0}, "b": {22: 1.0}}
        actions = action_set(things)
        for t in range(600):
            chosen = actions.ids[int(made.pmf(c, actions, t).pmf.argmax())]
            good = (chosen == "a") == (t < 300)
            reward = float(random.random() < (0.9 if good else 0.3))
            made.learn([interaction({}, things, chosen, reward)])
            earned.append(reward)
        return float(np.mean(earned[450:]))

    assert late_reward(**how) > 0.7
    assert late_reward(**how) > late_reward()


def test_one_way_of_forgetting() -> None:
    with pytest.raises(PolicyError, match="choose one way of forgetting"):
        policy(discount=0.9, window=3)


@pytest.mark.parametrize("kind", ["linucb", "lints"])
def test_priors_are_what_is_expected_before_anything_is_learned(kind: str) -> None:
    made = create({"type": kind, "prior": 0.25, "priors": {"b": 0.75}}, RANGE)
    c, things = features({5: 3.0}), action_set({"a": {}, "b": {}})
    assert made.expected(c, things).tolist() == [0.25, 0.75]  # type: ignore[union-attr]
    made.learn([interaction({}, {"a": {}, "b": {}}, "b", 1.0)])
    # theta = (1 - 0.75) / 2
    assert made.expected(features({}), things).tolist() == [0.25, 0.875]  # type: ignore[union-attr]


def test_priors_of_all_models_reach_the_scores() -> None:
    for kind in ("linucb", "lints"):
        for model in MODELS:
            made = create({"type": kind, "model": model, "priors": {"a": 9.0}}, RANGE)
            answer = made.pmf(features({}), action_set({"a": {}, "b": {}}), 1)
            assert answer.pmf[0] > 0.98
            assert answer.scores[0] - answer.scores[1] == 9.0


def test_settings_at_their_defaults_leave_the_state_as_it_always_was() -> None:
    header, _ = unpack(policy().state())
    assert header == {
        "policy": "linucb", "ids": [], "ridge": 1.0, "model": "disjoint", "interactions": True, "dimensions": 256
    }  # fmt: skip


def test_forgetting_and_priors_shape_the_state() -> None:
    for change in ({"discount": 0.9}, {"window": 5}, {"prior": 0.1}, {"priors": {"a": 0.5}}):
        assert not same_shape({"type": "linucb"}, {"type": "linucb", **change})
        state = trained(**change).state()
        with pytest.raises(PolicyError, match="expected"):
            restore({"type": "linucb"}, RANGE, state)
        with pytest.raises(PolicyError, match="expected"):
            restore({"type": "linucb", **change}, RANGE, trained().state())
        assert restore({"type": "linucb", **change}, RANGE, state).state() == state


@pytest.mark.parametrize("how", [{"discount": 0.97}, {"window": 30}], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_states_that_fit_no_model_are_refused(model: str, how: dict[str, Any]) -> None:
    config = {"type": "linucb", "model": model, **how}
    header, arrays = unpack(trained(model=model, **how).state())
    for name, array in arrays.items():
        broken = [{other: x for other, x in arrays.items() if other != name}]
        wrongs = [array[:-1], np.append(array, array[-1:]), array.astype(np.float32)]
        if array.dtype == np.float64:
            wrongs.append(np.where(np.arange(len(array)) == 0, np.nan, array))
        broken += [{**arrays, name: wrong} for wrong in wrongs]
        for changed in broken:
            with pytest.raises(PolicyError):
                restore(config, RANGE, pack(header, changed))
    if "window" in how:
        for removed in (-1, 30, "1", None):
            with pytest.raises(PolicyError):
                restore(config, RANGE, pack({**header, "removed": removed}, arrays))
