"""Overlap by hand; what is refused; the exploration that is said to mend it does mend it, and no less would."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isnan, sqrt

import numpy as np
import pytest

from simulator import NotIdentifiable
from simulator.overlap import Overlap, needed_exploration, refusal, sufficient_exploration
from simulator.sample import Sample


def of_pmfs(pi: np.ndarray, mu: np.ndarray, seed: int = 1) -> Sample:
    """A log of [n, K] pmfs, with all columns that a log with pmfs tells."""
    generator = np.random.default_rng(seed)
    n = len(pi)
    action = np.array([generator.choice(len(p), p=p) for p in mu])
    rows = np.arange(n)
    possible = mu > 0
    ratio = np.divide(pi, mu, out=np.zeros_like(pi), where=possible)
    return Sample.of(
        reward=np.zeros(n),
        mu=mu[rows, action],
        pi=pi[rows, action],
        unsupported=np.where(possible, 0, pi).sum(axis=1),
        expected_square=(pi * ratio).sum(axis=1),
    )


def test_by_hand() -> None:
    sample = Sample.of(
        reward=[0.0] * 4,
        mu=[0.5, 0.5, 0.25, 0.5],
        pi=[1.0, 0.0, 1.0, 0.0],
        unsupported=[0.0] * 4,
        expected_square=[2.0, 2.0, 4.0, 2.0],
    )
    overlap = Overlap.of(sample)
    assert overlap.n == 4
    assert overlap.unsupported == 0
    assert overlap.expected_ess == 4 / 2.5
    assert overlap.realised_ess == 36 / 20
    assert overlap.max_weight == 4
    assert overlap.mean_weight == 1.5
    # Variances before the draws: 1, 1, 3, 1; the mean's standard error is sqrt(6) / 4.
    assert overlap.z == pytest.approx(0.5 / (sqrt(6) / 4))
    assert overlap.p_value == pytest.approx(0.4142161782425253)
    assert overlap.ess == overlap.expected_ess


def test_weights_near_one_are_not_suspicious_because_their_squares_were_kept_in_four_bytes() -> (
    None
):
    # pmfs of thirds, rounded to four digits: weights vary by 1e-4, their squares by 2e-8, which float32 does not hold.
    generator = np.random.default_rng(2)
    thirds = [0.3333, 0.3333, 0.3334]
    mu = np.array([np.roll(thirds, k) for k in generator.integers(3, size=2_000)])
    exact = of_pmfs(np.full_like(mu, 1 / 3), mu)
    kept = replace(exact, expected_square=exact.expected_square.astype(np.float32))
    assert 0 < abs(Overlap.of(kept).z) <= abs(Overlap.of(exact).z) < 3
    assert not Overlap.of(kept).suspicious


def test_without_pmfs_it_falls_back_to_what_was_met() -> None:
    overlap = Overlap.of(Sample.of([0.0] * 4, [0.5] * 4, [1.0, 0.0, 1.0, 1.0]))
    assert isnan(overlap.unsupported)
    assert isnan(overlap.expected_ess)
    assert overlap.ess == overlap.realised_ess == 3.0
    assert overlap.z == pytest.approx(0.5 / (1.0 / sqrt(4)))
    reason = refusal(Sample.of([0.0] * 4, [0.5] * 4, [1.0, 0.0, 1.0, 1.0]))
    assert reason is not None
    assert "realised effective sample size 3 of 4 rows" in reason
    assert "no pmfs" in reason


def test_one_row_without_pmf_is_a_log_without() -> None:
    sample = Sample.of([0.0] * 2, [0.5] * 2, [0.5] * 2, expected_square=[1.0, np.nan])
    assert isnan(Overlap.of(sample).expected_ess)


def test_ends() -> None:
    with pytest.raises(NotIdentifiable):
        Overlap.of(Sample.of([], [], []))
    same = Overlap.of(Sample.of([0.0] * 3, [0.3] * 3, [0.3] * 3))
    assert (same.z, same.p_value, same.realised_ess) == (0.0, 1.0, 3.0)
    never = Overlap.of(Sample.of([0.0] * 3, [0.3] * 3, [0.0] * 3))
    assert never.realised_ess == 0
    assert never.z == -inf
    assert never.p_value == 0
    one = Overlap.of(Sample.of([0.0], [0.3], [0.5]))
    assert isnan(one.z)
    assert isnan(one.p_value)
    nothing = Sample.of([0.0], [0.3], [0.0], unsupported=[1.0], expected_square=[0.0])
    assert Overlap.of(nothing).expected_ess == 0


def test_the_mean_weight_tells_wrong_propensities_and_not_bad_luck() -> None:
    generator = np.random.default_rng(2)
    n = 4000
    taken = generator.random(n) < 0.1
    said = np.where(taken, 0.2, 0.8)  # the log says .2, .1 was played
    square = np.full(n, 0.25 / 0.2 + 0.25 / 0.8)
    wrong = Sample.of(
        np.zeros(n), said, np.full(n, 0.5), expected_square=square, unsupported=square * 0
    )
    assert Overlap.of(wrong).p_value < 1e-6
    # pi's action is taken once in 10,000 rows and did not come: weights met are all 0, which means nothing.
    unlucky = Sample.of(
        [0.0] * 100,
        [0.9999] * 100,
        [0.0] * 100,
        expected_square=[1e4] * 100,
        unsupported=[0.0] * 100,
    )
    assert Overlap.of(unlucky).p_value > 0.9


def test_unsupported_mass_is_expected_in_the_mean_weight() -> None:
    overlap = Overlap.of(
        Sample.of(
            [0.0] * 10, [1.0] * 10, [0.5] * 10, expected_square=[0.25] * 10, unsupported=[0.5] * 10
        )
    )
    assert (overlap.mean_weight, overlap.z) == (0.5, 0.0)


def test_a_good_log_is_not_refused() -> None:
    pi = np.tile([0.7, 0.2, 0.1], (1000, 1))
    assert refusal(of_pmfs(pi, np.full((1000, 3), 1 / 3)), actions=3) is None


@pytest.mark.parametrize(("n", "refused"), [(199, True), (200, False), (30_000, False)])
def test_a_hundred_rows_are_needed(n: int, refused: bool) -> None:
    ones = np.ones(n)
    sample = Sample.of(0 * ones, ones / 2, ones / 2, unsupported=0 * ones, expected_square=2 * ones)
    assert (refusal(sample) is not None) == refused


def test_a_hundredth_of_the_rows_is_needed() -> None:
    ones = np.ones(20_000)
    for square, refused in ((99.0, False), (101.0, True)):
        sample = Sample.of(
            0 * ones, ones, ones, unsupported=0 * ones, expected_square=square * ones
        )
        assert (refusal(sample) is not None) == refused


def test_unsupported_mass_is_refused() -> None:
    pi = np.tile([0.99, 0.01], (1000, 1))
    mu = np.tile([1.0, 0.0], (1000, 1))
    sample = of_pmfs(pi, mu)
    reason = refusal(sample, pmfs=(pi, mu))
    assert reason is not None
    assert reason.startswith("1.00% of what the policy does is never done")
    assert "uniform share of 0.1 %" in reason
    assert "log with a uniform share" in (refusal(sample) or "")
    almost = np.tile([0.9995, 0.0005], (1000, 1))
    assert refusal(of_pmfs(almost, mu)) is None


@pytest.mark.parametrize("seed", range(4))
def test_the_share_is_the_smallest_and_the_bound_suffices(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n, k = 400, 5
    pi = generator.dirichlet(np.full(k, 0.2), n)
    mu = generator.dirichlet(np.full(k, 0.05), n)
    if seed % 2:  # and some of it unsupported
        mu = np.where(mu < 1e-3, 0, mu)
        mu /= mu.sum(axis=1, keepdims=True)
    mu = np.where(mu > 0, np.maximum(mu, 1e-12), 0)
    mu /= mu.sum(axis=1, keepdims=True)
    sample = of_pmfs(pi, mu, seed)

    def ess(eps: float) -> float:
        return float(n / (pi**2 / ((1 - eps) * mu + eps / k)).sum(axis=1).mean())

    needed = needed_exploration(pi, mu, 50.0)
    enough, known = sufficient_exploration(sample, k, 50.0)
    assert needed is not None
    assert enough is not None
    assert known
    assert ess(needed) == pytest.approx(50, rel=1e-5)
    assert ess(needed * 0.99) < 50
    assert needed <= enough < 1
    assert ess(enough) >= 50
    blind = Sample.of(sample.reward, sample.mu, sample.pi)
    without, known = sufficient_exploration(blind, np.full(n, k), 50.0)
    assert without is None or without >= enough
    assert not known


def test_the_bound_is_exact_for_a_pi_of_one_action() -> None:
    pi = np.tile([1.0, 0.0, 0.0, 0.0], (1000, 1))
    mu = np.tile([0.001, 0.333, 0.333, 0.333], (1000, 1))
    needed = needed_exploration(pi, mu, 100.0)
    enough, _ = sufficient_exploration(of_pmfs(pi, mu), 4, 100.0)
    assert needed == pytest.approx((0.1 - 0.001) / (0.25 - 0.001), rel=1e-6)
    assert enough == pytest.approx(needed, rel=1e-6)


def test_no_share_is_enough_for_too_few_rows() -> None:
    pi = np.tile([1.0] + [0.0] * 9, (300, 1))
    mu = np.tile([0.01] + [0.11] * 9, (300, 1))
    sample = of_pmfs(pi, mu)
    assert needed_exploration(pi, mu, 100.0) is None
    assert "log more rows" in (refusal(sample, pmfs=(pi, mu)) or "")
    # Without knowing that those actions are not there, K counts those that a pmf names.
    assert "is proved" in (refusal(sample, actions=10) or "")
    assert needed_exploration(pi, mu, 31.0) is None
    assert needed_exploration(pi, mu, 29.0) == pytest.approx((29 / 300 - 0.01) / 0.09, rel=1e-6)


def test_a_share_between_may_do_where_uniform_does_not() -> None:
    # Row 1 needs exploration; row 2, where pi = mu, is hurt by it.
    pi = np.array([[0.6, 0.4], [1.0, 0.0]])
    mu = np.array([[1.0, 0.0], [1.0, 0.0]])
    mean_square = [
        float((pi[0] ** 2 / ((1 - e) * mu[0] + e / 2)).sum() + 1 / (1 - e / 2)) / 2
        for e in np.linspace(0.001, 1, 1000)
    ]
    best = min(mean_square)
    assert best < mean_square[-1] - 0.05
    found = needed_exploration(np.tile(pi, (50, 1)), np.tile(mu, (50, 1)), 100 / (best + 0.03))
    assert found is not None
    assert 0 < found < 1


def test_arguments_are_checked() -> None:
    sample = Sample.of([0.0], [1.0], [0.0])
    with pytest.raises(ValueError, match=r"\[n, K\]"):
        needed_exploration([0.5, 0.5], [0.5, 0.5], 1.0)
    with pytest.raises(ValueError, match="no action"):
        needed_exploration([[0.0]], [[0.0]], 1.0)
    with pytest.raises(ValueError, match="actions"):
        sufficient_exploration(sample, 0, 1.0)
    with pytest.raises(ValueError, match="actions"):
        sufficient_exploration(sample, [2, 2], 1.0)
    with pytest.raises(ValueError, match="pmfs of 2 rows for 1"):
        refusal(sample, pmfs=([[1.0], [1.0]], [[1.0], [1.0]]))
