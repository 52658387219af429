"""Reward models have not seen the rows that they are asked about, and MRDR's is the one that makes DR's variance least."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from policies import ModelSpec, PolicyError
from policies.features import NO_FEATURES, encode_actions
from simulator.environments.encoding import context_of
from simulator.estimators import DR, mrdr_weight
from simulator.logs import Decided, Matured
from simulator.logs.rankd_table import ExportedRow
from simulator.replay import replay
from simulator.reward_models import CrossFitted, MRDRWeight, Progressive, WeightedRidge
from simulator.targets import Frozen
from tests.simulator.test_replay import Listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.logs import Event
    from simulator.reward_models import RewardModel

ACTIONS = encode_actions(["a", "b"], [])
SPEC = ModelSpec({"type": "linucb", "ridge": 1.0}, reward_range=(0.0, 1.0))


def decided(
    key: str, chosen: int = 0, p: float = 0.5, raw: object = None, x: float = 0.0
) -> Decided:
    """A choice of two; p is the first one's probability."""
    mu = np.array([p, 1 - p])
    context = context_of(np.array([x])) if x else NO_FEATURES
    return Decided(key, 0, context, ACTIONS, chosen, mu, float(mu[chosen]), raw=raw)


def rows(rewards: list[float]) -> list[Event]:
    made = [decided(str(i), i % 2) for i in range(len(rewards))]
    return [event for row, r in zip(made, rewards, strict=True) for event in (row, Matured(row, r))]


def progressive() -> RewardModel:
    return Progressive(SPEC.build())


def weighted() -> RewardModel:
    return WeightedRidge.of({"type": "linucb", "ridge": 0.01}, lambda _: 2.0)


FITS: dict[str, Callable[[Listed], RewardModel]] = {
    "progressive": lambda _: progressive(),
    "cross-fitted": lambda log: CrossFitted.of(log, progressive, folds=3),
    "cross-fitted-weighted": lambda log: CrossFitted.of(log, weighted, folds=3),
}


@pytest.mark.parametrize("name", FITS)
def test_what_is_expected_of_a_row_says_nothing_of_its_reward(name: str) -> None:
    rewards = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0]

    def asked(rewards: list[float]) -> list[float]:
        log = Listed(rows(rewards))
        found = replay(log, [Frozen("l", SPEC.build())], FITS[name](log))
        return list(found.replayed[0].sample.q_logged)

    before = asked(rewards)
    assert len(set(before)) > 1
    for i in range(len(rewards)):
        other = [1 - r if j == i else r for j, r in enumerate(rewards)]
        assert asked(other)[i] == before[i]


class Heard:
    """A model that remembers what it was told."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def expected(self, decision: Decided) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        assert decision.key not in self.keys
        return np.full(2, float(len(self.keys)))

    def learn(self, matured: Matured) -> None:
        self.keys.append(matured.decision.key)


def test_each_fold_learns_all_rows_but_its_own() -> None:
    events = rows([1.0] * 60)
    models: list[Heard] = []

    def build() -> Heard:
        models.append(Heard())
        return models[-1]

    ticks: list[int] = []
    fitted = CrossFitted.of(Listed(events), build, folds=4, progress=ticks.append)
    assert ticks == list(range(1, 61))
    assert sum(len(model.keys) for model in models) == 3 * 60
    for event in events:
        if isinstance(event, Decided):
            model = models[fitted.fold(event)]
            assert fitted.expected(event).tolist() == [len(model.keys)] * 2
            assert sum(event.key in each.keys for each in models) == 3
    before = [len(model.keys) for model in models]
    fitted.learn(Matured(decided("new"), 1.0))
    assert [len(model.keys) for model in models] == before


def test_slots_of_a_decision_are_in_one_fold() -> None:
    fitted = CrossFitted([Heard() for _ in range(5)])
    one, p = decided("x"), np.array([0.5, 0.5])
    other = Decided("x", 1, NO_FEATURES, ACTIONS, 1, p, 0.5)
    assert fitted.fold(one) == fitted.fold(other)
    assert len({fitted.fold(decided(str(i))) for i in range(50)}) == 5


@pytest.mark.parametrize(
    "name_of",
    [
        pytest.param(lambda m: {"VWState": {"m": m}}, id="dsjson"),
        pytest.param(lambda m: ExportedRow(epoch=1, model_version=m), id="parquet"),
    ],
)
def test_a_log_of_a_policy_that_learned_is_refused(name_of: Callable[[int], object]) -> None:
    def log(ps: list[float], models: list[int]) -> Listed:
        made = [
            decided(str(i), p=p, raw=name_of(m))
            for i, (p, m) in enumerate(zip(ps, models, strict=True))
        ]
        return Listed([event for row in made for event in (row, Matured(row, 1.0))])

    with pytest.raises(ValueError, match="learned while it logged"):
        CrossFitted.of(log([0.5, 0.7], [1, 2]), progressive)
    CrossFitted.of(log([0.5, 0.7], [1, 1]), progressive)
    CrossFitted.of(log([0.5, 0.5], [1, 2]), progressive)  # uniform: nothing was learned by it


def test_a_table_s_own_column_of_that_name_names_no_model() -> None:
    rows = [decided(str(i), p=p, raw={"model_version": i}) for i, p in enumerate((0.5, 0.7))]
    left_out = [decided(str(i), p=p, raw=ExportedRow()) for i, p in enumerate((0.5, 0.7))]
    for made in (rows, left_out):
        CrossFitted.of(Listed([e for row in made for e in (row, Matured(row, 1.0))]), progressive)


def test_two_folds_at_least() -> None:
    with pytest.raises(ValueError, match="two at least"):
        CrossFitted.of(Listed([]), progressive, folds=1)


# MRDR, exactly. Contexts x = 0, 1, 2 alike often; two actions; pi takes the first. Its reward is no line in x, the model is.
X = (0, 1, 2)
MU = (Fraction(1, 2), Fraction(1, 4), Fraction(1, 10))  # of the first action
R = (Fraction(0), Fraction(1), Fraction(0))


def line(weight: list[Fraction]) -> tuple[Fraction, Fraction]:
    """(intercept, slope) of weighted least squares of R on X, by the normal equations."""
    s0, s1 = sum(weight), sum(w * x for w, x in zip(weight, X, strict=True))
    s2 = sum(w * x * x for w, x in zip(weight, X, strict=True))
    y0 = sum(w * r for w, r in zip(weight, R, strict=True))
    y1 = sum(w * r * x for w, r, x in zip(weight, R, X, strict=True))
    slope = (s0 * y1 - s1 * y0) / (s0 * s2 - s1 * s1)
    return Fraction((y0 - slope * s1) / s0), Fraction(slope)


def variance_of_dr(model: tuple[Fraction, Fraction]) -> Fraction:
    """Of one row of DR, over all that can happen: q + [a is the first] (r - q) / mu."""
    outcomes = []
    for x, mu, r in zip(X, MU, R, strict=True):
        q = model[0] + model[1] * x
        outcomes += [(mu / 3, q + (r - q) / mu), ((1 - mu) / 3, q)]
    mean = sum(p * row for p, row in outcomes)
    assert mean == sum(R) / 3  # DR is unbiased whatever the line
    return Fraction(sum(p * (row - mean) ** 2 for p, row in outcomes))


def test_mrdr_minimises_the_variance_of_dr_and_least_squares_do_not() -> None:
    # In expectation over the log a row with the first action comes with probability mu.
    mrdr = line([mu * (1 - mu) / mu**2 for mu in MU])
    plain = line(list(MU))
    least = variance_of_dr(mrdr)
    for d0, d1 in product((-1, 0, 1), repeat=2):
        for step in (Fraction(1, 1000), Fraction(1, 10), Fraction(1)):
            assert variance_of_dr((mrdr[0] + d0 * step, mrdr[1] + d1 * step)) >= least
    assert least < variance_of_dr(plain) * Fraction(7, 10)


def exact_log() -> list[Event]:
    """20 rows of each context, in which each action comes as often as mu says."""
    events: list[Event] = []
    for x, mu, r in zip(X, MU, R, strict=True):
        for i in range(20):
            chosen = int(i >= 20 * mu)
            row = decided(f"{x}-{i}", chosen, float(mu), x=float(x))
            events += [row, Matured(row, float(r) if chosen == 0 else 0.5)]
    return events


class First:
    """The policy that takes the first action."""

    def pmf(self, decision: Decided) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([1.0, 0.0])


def test_the_regression_is_that_line() -> None:
    weight = MRDRWeight(First())
    model = WeightedRidge.of({"type": "linucb", "ridge": 1e-9}, weight, standardise=False)
    for event in exact_log():
        if isinstance(event, Matured):
            assert weight(event.decision) == pytest.approx(
                float(mrdr_weight(event.decision.chosen == 0, event.decision.propensity))
            )
            model.learn(event)
    intercept, slope = line([mu * (1 - mu) / mu**2 for mu in MU])
    for x in X:
        q = model.expected(decided("new", x=float(x)))
        assert q.tolist() == pytest.approx([float(intercept + slope * x), 0.0], abs=1e-6)


def test_with_equal_weights_it_is_the_policy_s_own_regression() -> None:
    policy, one = {"type": "linucb", "model": "shared"}, WeightedRidge.of
    mine = one(policy, lambda _: 1.0, standardise=True)
    theirs = Progressive(ModelSpec(policy).build())
    for event in exact_log():
        if isinstance(event, Matured):
            mine.learn(event)
            theirs.learn(event)
    asked = decided("new", x=1.5)
    assert mine.expected(asked).tolist() == pytest.approx(theirs.expected(asked).tolist(), abs=1e-9)


def alike(decision: Decided) -> float:
    """Plain least squares."""
    return 1.0


def test_in_simulated_logs_mrdr_spreads_less_than_dr() -> None:
    """The same world, logs of 300 rows, both cross-fitted: as far as the variances, exactly, are apart."""
    rng = np.random.default_rng(1)
    spread: dict[str, list[float]] = {"mrdr": [], "dr": []}
    first = WithName()
    policy = {"type": "linucb", "ridge": 0.01}
    for _ in range(100):
        events: list[Event] = []
        for i in range(300):
            x = int(rng.integers(3))
            chosen = int(rng.random() >= MU[x])
            row = decided(str(i), chosen, float(MU[x]), x=float(x))
            events += [row, Matured(row, float(R[x]) if chosen == 0 else 0.5)]
        for name, weight in (("mrdr", MRDRWeight(first)), ("dr", alike)):
            build = partial(WeightedRidge.of, policy, weight, standardise=False)
            fitted = CrossFitted.of(Listed(events), build)
            sample = replay(Listed(events), [first], fitted).replayed[0].sample
            spread[name].append(DR().value(sample))
    truth = float(sum(R)) / 3
    for name in spread:
        assert np.mean(spread[name]) == pytest.approx(truth, abs=0.03)
    assert np.std(spread["mrdr"]) < 0.9 * np.std(spread["dr"])


class WithName(First):
    name = "first"
    estimand = "frozen"

    def learn(self, matured: Matured) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"type": "uniform"}, "linear"),
        ({"type": "linucb", "model": "hybrid"}, "hybrid"),
        ({"type": "linucb", "discount": 0.9}, "discount"),
        ({"type": "linucb", "window": 5}, "window"),
        ({"type": "linucb", "prior": 0.5}, "prior"),
    ],
)
def test_what_does_not_learn_with_weights_is_refused(policy: dict[str, object], says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        WeightedRidge.of(policy, lambda _: 1.0)
