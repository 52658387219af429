"""The interval against its definition, by hand, and by how often it covers."""

from __future__ import annotations

from math import inf, nan, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import t as student

from simulator import (
    Interval,
    Ips,
    NotIdentifiable,
    empirical_likelihood_interval,
    weight_range,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT = (0.0, 1.0)


def test_all_weights_one_no_reward_by_hand() -> None:
    # 101 rows, one of them a reward of 1: mean 1/101, variance 1/101 * 100/101, t with 99 degrees of freedom.
    interval = empirical_likelihood_interval(Ips.of([1.0] * 100, [0.0] * 100), 1.0, 1.0, UNIT)
    expected = 1 / 101 + student.ppf(0.975, 99) * sqrt(100 / 101**2 / 101)
    assert interval.low == 0.0
    assert interval.high == pytest.approx(expected, rel=1e-12)


def test_on_policy_is_students_interval_with_one_row_more() -> None:
    rewards = [1.0] * 60 + [0.0] * 40
    interval = empirical_likelihood_interval(Ips.of([1.0] * 100, rewards), 1.0, 1.0, UNIT, 0.1)
    quantile = student.ppf(0.95, 99)
    for bound, extra, sign in ((interval.low, 0.0, -1), (interval.high, 1.0, 1)):
        mean = (60 + extra) / 101
        assert bound == pytest.approx(mean + sign * quantile * sqrt(mean * (1 - mean) / 101))


def definition(
    weights: list[float], rewards: list[float], extra: list[tuple[float, float]], alpha: float
) -> float:
    """The lower end from the definition, by numerical minimisation over the reweighting q."""

    def solve(w: NDArray[np.float64], objective: Any, c: float | None) -> tuple[float, Any]:
        """Least objective over q with sum q = 1, sum q w = 1 and, if c is given, divergence at most c."""
        constraints: list[dict[str, Any]] = [
            {"type": "eq", "fun": lambda q: q.sum() - 1},
            {"type": "eq", "fun": lambda q: q @ w - 1},
        ]
        if c is not None:
            constraints.append({"type": "ineq", "fun": lambda q: c - ((len(w) * q - 1) ** 2).sum()})
        start = np.full(len(w), 1 / len(w))
        answer = minimize(objective, start, constraints=constraints, method="SLSQP", tol=1e-14)
        return float(answer.fun), answer

    samples = [np.array([*weights, w]) for w, _ in extra]
    least = [solve(w, lambda q: ((len(q) * q - 1) ** 2).sum(), None)[0] for w in samples]
    c = min(least) + student.ppf(1 - alpha / 2, len(weights) - 1) ** 2
    ends = []
    for w, (_, r), own in zip(samples, extra, least, strict=True):
        if own <= c:
            y = w * np.array([*rewards, r])
            ends.append(solve(w, lambda q, y=y: q @ y, c)[0])
    return min(ends)


@pytest.mark.parametrize("seed", range(5))
def test_closed_form_equals_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pi, mu = np.array([0.2, 0.7, 0.1]), np.array([0.6, 0.3, 0.1])
    chosen = rng.choice(3, 12, p=mu)
    w, r = (pi / mu)[chosen].tolist(), rng.uniform(-1, 1, 12).round(2).tolist()
    low, high = weight_range(pi, mu)
    interval = empirical_likelihood_interval(Ips.of(w, r), low, high, (-5.0, 5.0), 0.2)
    assert interval.low == pytest.approx(
        max(-5.0, definition(w, r, [(low, -5.0), (high, -5.0)], 0.2)), abs=1e-5
    )
    # The upper end is the lower end of the negated rewards.
    negated = [-x for x in r]
    assert -interval.high == pytest.approx(
        max(-5.0, definition(w, negated, [(low, -5.0), (high, -5.0)], 0.2)), abs=1e-5
    )


def logged(
    rng: np.random.Generator,
    mu: NDArray[np.float64],
    pi: NDArray[np.float64],
    theta: NDArray[np.float64],
    n: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and 0/1 rewards of n rows; action a earns 1 with probability theta[a]."""
    chosen = rng.choice(len(mu), n, p=mu)
    return (pi / mu)[chosen], (rng.random(n) < theta[chosen]).astype(np.float64)


def test_covers_95_percent_where_overlap_is_good() -> None:
    rng = np.random.default_rng(1)
    mu, pi = np.full(5, 0.2), np.array([0.52, 0.12, 0.12, 0.12, 0.12])
    theta = np.array([0.8, 0.3, 0.5, 0.2, 0.6])
    low, high = weight_range(pi, mu)
    repetitions, covered, half_width = 1000, 0, 0.0
    for _ in range(repetitions):
        ips = Ips.of(*logged(rng, mu, pi, theta, 1000))
        interval = empirical_likelihood_interval(ips, low, high, UNIT)
        covered += interval.covers(float(pi @ theta))
        half_width += interval.half_width / repetitions
    # 3 standard errors of a share of .95 in 1,000 are .021.
    assert 0.929 <= covered / repetitions <= 0.971
    # Not covered by being vacuous: a normal interval would be about .036 here.
    assert half_width < 0.045


def test_covers_where_the_mass_at_risk_is_seldom_met() -> None:
    """The reason for this interval: at 5% exploration a normal one covers much too seldom."""
    rng = np.random.default_rng(2)
    mu = np.array([0.955, 0.005, 0.01, 0.01, 0.02])
    pi = np.array([0.9, 0.06, 0.01, 0.01, 0.02])
    theta = np.array([0.8, 0.9, 0.1, 0.1, 0.1])
    truth = float(pi @ theta)
    low, high = weight_range(pi, mu)
    repetitions, covered, normal = 400, 0, 0
    for _ in range(repetitions):
        w, r = logged(rng, mu, pi, theta, 200)
        covered += empirical_likelihood_interval(Ips.of(w, r), low, high, UNIT).covers(truth)
        y = w * r
        normal += abs(y.mean() - truth) <= 1.96 * y.std(ddof=1) / sqrt(len(y))
    assert normal / repetitions < 0.9
    assert covered / repetitions >= 0.95


def test_the_possible_maximum_widens_not_only_the_realised_one() -> None:
    # 5% of the policy's mass has not shown up. The more weight one row may carry, the less that is worth noticing,
    # and the more of the value may lie in what was not met.
    ips = Ips.of([1.0] * 190 + [0.0] * 10, [0.5] * 200)
    narrow = empirical_likelihood_interval(ips, 0.0, 2.0, UNIT)
    wide = empirical_likelihood_interval(ips, 0.0, 50.0, UNIT)
    assert wide.low < narrow.low
    assert wide.high > narrow.high
    assert wide.half_width > 2 * narrow.half_width


def test_moves_and_scales_with_the_rewards() -> None:
    rng = np.random.default_rng(3)
    w = rng.choice([0.5, 1.0, 2.5], 50, p=[0.5, 0.3, 0.2])
    r = rng.random(50)
    base = empirical_likelihood_interval(Ips.of(w, r), 0.5, 2.5, UNIT)
    moved = empirical_likelihood_interval(Ips.of(w, 10 * r - 3), 0.5, 2.5, (-3.0, 7.0))
    assert 0 < base.low < base.high < 1
    assert (moved.low, moved.high) == pytest.approx((10 * base.low - 3, 10 * base.high - 3))
    flipped = empirical_likelihood_interval(Ips.of(w, -r), 0.5, 2.5, (-1.0, 0.0))
    assert (flipped.low, flipped.high) == pytest.approx((-base.high, -base.low))


def test_narrows_with_the_root_of_n_and_widens_with_confidence() -> None:
    w, r = [0.5, 1.0, 1.5, 1.0], [1.0, 0.0, 0.0, 1.0]
    small = empirical_likelihood_interval(Ips.of(w * 1000, r * 1000), 0.5, 1.5, UNIT)
    large = empirical_likelihood_interval(Ips.of(w * 100_000, r * 100_000), 0.5, 1.5, UNIT)
    assert small.half_width / large.half_width == pytest.approx(
        10, rel=0.03
    )  # the one row more still shows
    sure = empirical_likelihood_interval(Ips.of(w * 1000, r * 1000), 0.5, 1.5, UNIT, alpha=0.01)
    assert sure.low < small.low < small.high < sure.high
    assert sure.alpha == 0.01


def test_ends_are_ordered_and_inside_the_range_for_any_log() -> None:
    rng = np.random.default_rng(4)
    for _ in range(300):
        k = int(rng.integers(2, 6))
        mu, pi = rng.dirichlet(np.full(k, 0.5)) * 0.9 + 0.1 / k, rng.dirichlet(np.full(k, 0.5))
        w, r = logged(rng, mu, pi, rng.random(k), int(rng.integers(1, 60)))
        interval = empirical_likelihood_interval(Ips.of(w, r), *weight_range(pi, mu), UNIT)
        assert 0.0 <= interval.low <= interval.high <= 1.0, (mu, pi, w, r)


class TestDegenerate:
    def test_one_row_tells_nothing(self) -> None:
        assert empirical_likelihood_interval(Ips.of([1.0], [1.0]), 0.0, 2.0, (-1.0, 2.0)) == (
            Interval(-1.0, 2.0, 0.05)
        )

    def test_one_possible_reward(self) -> None:
        ips = Ips.of([1.0, 2.0], [3.0, 3.0])
        assert empirical_likelihood_interval(ips, 0.0, 2.0, (3.0, 3.0)) == Interval(3.0, 3.0, 0.05)

    def test_every_reward_the_best_possible(self) -> None:
        interval = empirical_likelihood_interval(Ips.of([1.0] * 50, [1.0] * 50), 1.0, 1.0, UNIT)
        assert 0.9 < interval.low < 1.0
        assert interval.high == 1.0

    def test_equal_weights_that_are_not_all_that_is_possible(self) -> None:
        ips = Ips.of([0.98] * 100, [0.5] * 100)
        interval = empirical_likelihood_interval(ips, 0.98, 20.0, UNIT)
        assert interval.low < 0.5 < interval.high
        assert interval.half_width < 0.1

    def test_rounding_does_not_take_on_policy_for_something_else(self) -> None:
        rng = np.random.default_rng(5)
        r = (rng.random(1000) < 0.3).astype(np.float64)
        exact = empirical_likelihood_interval(Ips.of(np.ones(1000), r), 1.0, 1.0, UNIT)
        w = 1 + rng.uniform(-1, 1, 1000) * 1e-13
        rounded = empirical_likelihood_interval(Ips.of(w, r), 1 - 1e-13, 1 + 1e-13, UNIT)
        assert (rounded.low, rounded.high) == pytest.approx((exact.low, exact.high), rel=1e-6)

    def test_no_weight_at_all_in_few_rows_still_answers(self) -> None:
        interval = empirical_likelihood_interval(Ips.of([0.0] * 5, [1.0] * 5), 0.0, 10.0, UNIT)
        assert (interval.low, interval.high) == (0.0, 1.0)


class TestRefusals:
    ips = Ips.of([1.0, 0.5, 1.5], [1.0, 0.0, 1.0])

    def test_missing_support(self) -> None:
        with pytest.raises(NotIdentifiable, match="w_max is infinite"):
            empirical_likelihood_interval(self.ips, 0.0, inf, UNIT)

    def test_no_rows(self) -> None:
        with pytest.raises(NotIdentifiable, match="no rows"):
            empirical_likelihood_interval(Ips(), 0.0, 2.0, UNIT)

    @pytest.mark.parametrize("weight", [0.5, 1.5])
    def test_propensities_that_cannot_be_right(self, weight: float) -> None:
        ips = Ips.of([weight] * 1000, [1.0] * 1000)
        with pytest.raises(NotIdentifiable, match=f"weights average {weight}"):
            empirical_likelihood_interval(ips, 0.5, 1.5, UNIT)

    def test_weights_outside_the_stated_range(self) -> None:
        with pytest.raises(ValueError, match=r"weights from 0\.5 to 1\.5"):
            empirical_likelihood_interval(self.ips, 0.0, 1.2, UNIT)
        with pytest.raises(ValueError, match=r"weights from 0\.5 to 1\.5"):
            empirical_likelihood_interval(self.ips, 0.7, 2.0, UNIT)

    def test_rewards_outside_the_stated_range(self) -> None:
        with pytest.raises(ValueError, match=r"rewards from 0\.0 to 1\.0"):
            empirical_likelihood_interval(self.ips, 0.0, 2.0, (0.0, 0.9))

    @pytest.mark.parametrize(
        ("w_min", "w_max", "reward_range", "alpha", "message"),
        [
            (1.1, 2.0, UNIT, 0.05, "weight range"),
            (0.0, 0.9, UNIT, 0.05, "weight range"),
            (-0.1, 2.0, UNIT, 0.05, "weight range"),
            (0.0, nan, UNIT, 0.05, "weight range"),
            (0.0, 2.0, (1.0, 0.0), 0.05, "reward range"),
            (0.0, 2.0, (0.0, inf), 0.05, "reward range"),
            (0.0, 2.0, UNIT, 0.0, "alpha"),
            (0.0, 2.0, UNIT, 1.0, "alpha"),
        ],
    )
    def test_arguments(
        self,
        w_min: float,
        w_max: float,
        reward_range: tuple[float, float],
        alpha: float,
        message: str,
    ) -> None:
        with pytest.raises(ValueError, match=message):
            empirical_likelihood_interval(self.ips, w_min, w_max, reward_range, alpha)
