"""Each interval by hand, by what it refuses, and by how often it covers on small bandits whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt
from time import process_time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from simulator import Ips, NotIdentifiable, empirical_likelihood_interval
from simulator.intervals import INTERVALS, ConfidenceInterval, Evidence, sequence
from simulator.sample import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64]

UNIT = (0.0, 1.0)
normal = INTERVALS["normal"]
bootstrap = INTERVALS["bootstrap"]
empirical_bernstein = INTERVALS["empirical_bernstein"]
clopper_pearson = INTERVALS["clopper_pearson"]
cressie_read = INTERVALS["cressie_read"]
martingale = INTERVALS["martingale"]
confidence_sequence = INTERVALS["confidence_sequence"]


def drawn(
    generator: np.random.Generator, shape: int | tuple[int, int], p: float | Column
) -> Column:
    """1 with probability p, else 0."""
    return (generator.random(shape) < p).astype(np.float64)


def two_armed(
    taken: Column, reward: Column, mu: float | Column, pi: float | Column, **columns: Column
) -> Sample:
    """A log over two actions; mu and pi are the probabilities of action 1."""
    n = len(taken)
    m, p = np.broadcast_to(mu, n), np.broadcast_to(pi, n)
    weights = np.stack((p / m, (1 - p) / (1 - m)))
    return Sample.of(
        reward=reward,
        mu=np.where(taken > 0, m, 1 - m),
        pi=np.where(taken > 0, p, 1 - p),
        unsupported=np.zeros(n),
        expected_square=p * weights[0] + (1 - p) * weights[1],
        w_max=weights.max(axis=0),
        w_min=weights.min(axis=0),
        **columns,
    )


def coverage(hits: int, runs: int, at_least: float) -> None:
    """Fails if so few hits are not to be expected (1 in 10,000) of an interval that covers `at_least`."""
    assert binomtest(hits, runs, at_least, "less").pvalue > 1e-4, f"covered {hits} of {runs}"


# ---- the registry and the evidence


@pytest.mark.parametrize("name", sorted(INTERVALS))
def test_every_interval_holds_the_estimate_of_an_easy_log(name: str) -> None:
    generator = np.random.default_rng(7)
    taken = drawn(generator, 2000, 0.5)
    reward = drawn(generator, 2000, 0.3 + 0.2 * taken)
    evidence = Evidence.ips(
        two_armed(taken, reward, 0.5, 0.8), UNIT, generator=np.random.default_rng(8)
    )
    interval = INTERVALS[name](evidence, 0.1)
    assert interval.low < evidence.rows.mean() < interval.high
    assert interval.covers(0.46)  # the truth
    assert interval.alpha == 0.1
    assert interval.method
    assert 0 < interval.half_width < 0.2
    wider = INTERVALS[name](evidence, 0.01)
    assert wider.low < interval.low < interval.high < wider.high


@pytest.mark.parametrize("name", sorted(INTERVALS))
def test_what_no_interval_takes(name: str) -> None:
    evidence = Evidence.ips(
        two_armed(np.ones(5), np.ones(5), 0.5, 0.5), UNIT, generator=np.random.default_rng(1)
    )
    for alpha in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="alpha"):
            INTERVALS[name](evidence, alpha)
    empty = Evidence.ips(Sample.of([], [], []), UNIT, generator=np.random.default_rng(1))
    with pytest.raises(NotIdentifiable):
        INTERVALS[name](empty)


def test_evidence_is_checked() -> None:
    sample = Sample.of([1.0], [0.5], [0.5])
    with pytest.raises(ValueError, match="finite float64"):
        Evidence(np.array([np.nan]))
    with pytest.raises(ValueError, match="2 rows of a sample of 1"):
        Evidence(np.zeros(2), sample)
    with pytest.raises(ValueError, match="must be finite"):
        Evidence(np.zeros(1), reward_range=(0.0, np.inf))
    with pytest.raises(ValueError, match="lowest first"):
        Evidence(np.zeros(1), row_range=(1.0, 0.0))
    with pytest.raises(ValueError, match="needs the sample"):
        cressie_read(Evidence(np.zeros(1)))
    with pytest.raises(ValueError, match="range of rewards"):
        cressie_read(Evidence(np.zeros(1), sample))
    with pytest.raises(ValueError, match="were met, outside"):
        cressie_read(Evidence(np.zeros(1), sample, (0.0, 0.5)))


def test_range_of_ips_rows() -> None:
    sample = two_armed(np.array([1.0]), np.array([0.0]), 0.25, 0.5)
    assert Evidence.ips(sample, (-1.0, 3.0)).row_range == (-2.0, 6.0)
    assert Evidence.ips(Sample.of([0.0], [1.0], [1.0]), UNIT).row_range is None
    no_support = Sample.of([0.0], [1.0], [1.0], w_max=[np.inf])
    with pytest.raises(NotIdentifiable, match="never could"):
        empirical_bernstein(
            Evidence.ips(Sample.of([0, 0], [1, 1], [1, 1], w_max=[1, np.inf]), UNIT)
        )
    assert Evidence.ips(no_support, UNIT).row_range == (-np.inf, np.inf)


# ---- each by hand


def test_normal_by_hand() -> None:
    interval = normal(Evidence(np.array([1.0, 2.0, 3.0])))
    reach = 4.302652729911275 / sqrt(3)  # t with 2 degrees of freedom
    assert interval.low == pytest.approx(2 - reach, rel=1e-9)
    assert interval.high == pytest.approx(2 + reach, rel=1e-9)


def test_bootstrap_is_near_normal_and_repeats() -> None:
    rows = np.random.default_rng(1).exponential(size=2000)
    first, again = (bootstrap(Evidence(rows, generator=np.random.default_rng(2))) for _ in range(2))
    assert first == again
    other = normal(Evidence(rows))
    assert first.low == pytest.approx(other.low, abs=0.1 * other.half_width)
    assert first.high == pytest.approx(other.high, abs=0.1 * other.half_width)


def test_bootstrap_of_few_values_has_the_law_of_one_row_at_a_time() -> None:
    """A click rate of 1/4 in 400 rows: quantiles of a binomial over 400, but for the wobble of 1,000 redrawn logs."""
    rows = np.repeat([0.0, 0.0, 0.0, 1.0], 100)
    noisy = rows + 1e-9 * np.arange(400)  # all values differ, so rows are redrawn one at a time
    few, many = (
        bootstrap(Evidence(each, generator=np.random.default_rng(1))) for each in (rows, noisy)
    )
    low, high = binom.ppf((0.025, 0.975), 400, 0.25) / 400
    for found in (few, many):
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


def test_bootstrap_refuses_a_path_of_learning() -> None:
    evidence = Evidence(np.ones(10), adaptive=True, generator=np.random.default_rng(1))
    with pytest.raises(NotIdentifiable, match="path of learning"):
        bootstrap(evidence)
    with pytest.raises(ValueError, match="generator"):
        bootstrap(Evidence(np.ones(10)))


def test_empirical_bernstein_by_hand() -> None:
    rows = np.array([0.0, 4.0] * 5000)  # range 4, variance 4 n / (n - 1)
    interval = empirical_bernstein(Evidence(rows, row_range=(0.0, 4.0)))
    reach = sqrt(2 * 4 / 9999 * log(80)) + 7 * 4 * log(80) / (3 * 9999)
    assert interval.low == pytest.approx(2 - reach, rel=1e-12)
    assert interval.high == pytest.approx(2 + reach, rel=1e-12)
    with pytest.raises(ValueError, match="outside"):
        empirical_bernstein(Evidence(rows, row_range=(0.0, 3.0)))
    with pytest.raises(NotIdentifiable, match="no pmfs"):
        empirical_bernstein(Evidence(rows))


def test_clopper_pearson_is_the_binomial_interval_times_w0() -> None:
    # 3 successes in 20 rows at propensity 1/4, and a match without reward.
    weight = np.array([4.0] * 4 + [0.0] * 16)
    reward = np.array([1.0] * 3 + [0.0] * 10 + [1.0] * 7)
    sample = Sample.of(reward, np.full(20, 0.25), weight / 4)
    interval = clopper_pearson(Evidence.ips(sample, UNIT))
    exact = binomtest(3, 20).proportion_ci(0.95, "exact")
    assert interval.low == pytest.approx(4 * exact.low, rel=1e-9)
    assert interval.high == 1.0  # 4 * .379, clipped
    assert interval.method == "Clopper-Pearson"
    # Rewards of -1 and 1 are the same tosses.
    shifted = Sample.of(2 * reward - 1, np.full(20, 0.25), weight / 4)
    moved = clopper_pearson(Evidence.ips(shifted, (-1.0, 1.0)))
    assert moved.low == pytest.approx(8 * exact.low - 1, rel=1e-9)
    # As are those whose w_max was rounded up to 4 bytes.
    narrow = np.full(20, np.nextafter(np.float32(4), np.float32(5)))
    rounded = clopper_pearson(Evidence.ips(replace(sample, w_max=narrow), UNIT))
    assert rounded.method == "Clopper-Pearson"
    assert rounded.low == pytest.approx(4 * exact.low, rel=1e-6)


def test_clopper_pearson_refuses_what_is_no_binomial() -> None:
    graded = Sample.of([0.5, 0.0], [0.5, 0.5], [1.0, 0.0])
    with pytest.raises(NotIdentifiable, match="no binomial"):
        clopper_pearson(Evidence.ips(graded, UNIT))
    weights = Sample.of([1.0, 0.0], [0.5, 0.25], [1.0, 1.0])
    with pytest.raises(NotIdentifiable, match="no binomial"):
        clopper_pearson(Evidence.ips(weights, UNIT))
    bounded = Sample.of([1.0, 0.5], [0.5, 0.25], [1.0, 1.0], w_max=[2.0, 4.0])
    interval = clopper_pearson(Evidence.ips(bounded, UNIT))
    assert interval.method == "Clopper-Pearson (bounded)"
    nothing = Sample.of([1.0], [0.5], [0.0])
    with pytest.raises(NotIdentifiable, match="above 0"):
        clopper_pearson(Evidence.ips(nothing, UNIT))
    unsupported = Sample.of([1.0], [0.5], [0.5], w_max=[np.inf])
    with pytest.raises(NotIdentifiable, match="never could"):
        clopper_pearson(Evidence.ips(unsupported, UNIT))
    above = Sample.of([1.0], [0.25], [1.0], w_max=[2.0])
    with pytest.raises(ValueError, match="above w_max"):
        clopper_pearson(Evidence.ips(above, UNIT))


def test_cressie_read_is_the_empirical_likelihood_interval_with_the_columns_range() -> None:
    generator = np.random.default_rng(3)
    taken = drawn(generator, 200, 0.5)
    mu = np.linspace(0.1, 0.9, 200)
    sample = two_armed(taken, taken, mu, 0.5)
    expected = empirical_likelihood_interval(
        Ips.of(sample.weight, taken), float(sample.w_min.min()), float(sample.w_max.max()), UNIT
    )
    interval = cressie_read(Evidence.ips(sample, UNIT))
    assert (interval.low, interval.high) == (expected.low, expected.high)
    blind = Sample.of(taken, sample.mu, sample.pi)
    with pytest.raises(NotIdentifiable, match="no pmfs"):
        cressie_read(Evidence.ips(blind, UNIT))


def test_martingale_weights_look_back_only() -> None:
    # h = 0, 1/sqrt(4), 1/sqrt((4 + 16) / 2): the last row's own expected_square plays no part.
    for last in (1.0, 1e6):
        sample = Sample.of([1.0, 1, 0], [0.5] * 3, [0.5] * 3, expected_square=[4.0, 16.0, last])
        interval = martingale(Evidence.ips(sample, UNIT))
        h = np.array([0.0, 1 / 2, 1 / sqrt(10)])
        centre = h[1] / h.sum()
        v = (h**2 * (np.array([1.0, 1.0, 0.0]) - centre) ** 2).sum() / h.sum() ** 2
        reach = 1.959963984540054 * sqrt(v)
        assert interval.low == pytest.approx(centre - reach, rel=1e-12)
        assert interval.high == pytest.approx(centre + reach, rel=1e-12)
    blind = Sample.of([1.0] * 3, [0.5] * 3, [0.5] * 3)
    with pytest.raises(NotIdentifiable, match="no pmfs"):
        martingale(Evidence.ips(blind, UNIT))
    nowhere = Sample.of([1.0] * 3, [0.5] * 3, [0.0] * 3, expected_square=[0.0] * 3)
    with pytest.raises(NotIdentifiable, match="both policies"):
        martingale(Evidence.ips(nowhere, UNIT))


def test_martingale_window_forgets() -> None:
    # 200 rows of 4, then 200 of 100: from 100 rows after the change on, the first do not count.
    e = np.repeat([4.0, 100.0], 200)
    reward = np.zeros(400)
    reward[350] = 1.0
    ones = np.ones(400)
    interval = martingale(Evidence.ips(Sample.of(reward, ones, ones, expected_square=e), UNIT))
    ramp = 1 / np.sqrt((4 * np.arange(100, 0, -1) + 100 * np.arange(100)) / 100)
    total = 199 / 2 + ramp.sum() + 101 / 10 - 1 / 10
    assert (interval.low + interval.high) / 2 == pytest.approx(0.1 / total, rel=1e-9)


# ---- how often they cover


RUNS, ROWS = 300, 500
FEW = {"confidence_sequence": 100, "bootstrap": 100}  # runs of those that take milliseconds each


def covered(name: str, samples: list[Sample], truth: float) -> int:
    generator = np.random.default_rng(11)
    return sum(
        INTERVALS[name](Evidence.ips(sample, UNIT, generator=generator)).covers(truth)
        for sample in samples
    )


@pytest.fixture(scope="module")
def rare() -> list[Sample]:
    """pi takes action 1 half of the time, mu once in 250 rows; it earns 1, the other .2: truth .6."""
    generator = np.random.default_rng(5)
    logs = []
    for _ in range(RUNS):
        taken = drawn(generator, ROWS, 0.004)
        reward = np.where(taken > 0, 1.0, drawn(generator, ROWS, 0.2))
        logs.append(two_armed(taken, reward, 0.004, 0.5))
    return logs


@pytest.mark.parametrize("name", ["normal", "martingale"])
def test_rare_mass_deceives_what_looks_at_rows_only(name: str, rare: list[Sample]) -> None:
    assert covered(name, rare, 0.6) < 0.9 * RUNS


@pytest.mark.parametrize(
    "name", ["cressie_read", "confidence_sequence", "empirical_bernstein", "clopper_pearson"]
)
def test_rare_mass_is_covered_by_what_knows_the_pmfs(name: str, rare: list[Sample]) -> None:
    runs = FEW.get(name, RUNS)
    coverage(covered(name, rare[:runs], 0.6), runs, 0.95)


@pytest.fixture(scope="module")
def uniform() -> list[Sample]:
    """A deterministic pi on a uniform log of two actions: truth .3."""
    generator = np.random.default_rng(6)
    logs = []
    for _ in range(RUNS):
        taken = drawn(generator, ROWS, 0.5)
        reward = drawn(generator, ROWS, 0.1 + 0.2 * taken)
        logs.append(two_armed(taken, reward, 0.5, 1.0))
    return logs


@pytest.mark.parametrize("name", sorted(INTERVALS))
def test_uniform_log_is_covered(name: str, uniform: list[Sample]) -> None:
    runs = FEW.get(name, RUNS)
    coverage(covered(name, uniform[:runs], 0.3), runs, 0.95)


def learning_logs(runs: int, n: int, seed: int, floor: float) -> tuple[Column, Column, Column]:
    """An epsilon-greedy learner over two arms that both earn 1/2: mu of arm 1, taken, reward, [runs, n] each."""
    generator = np.random.default_rng(seed)
    pulls, wins = np.ones((2, runs)), np.full((2, runs), 0.5)
    mu, taken, reward = (np.empty((runs, n)) for _ in range(3))
    for t in range(n):
        epsilon = max(floor, 1 / sqrt(t + 1))
        best = (wins[1] / pulls[1] > wins[0] / pulls[0]) * 1.0
        mu[:, t] = epsilon / 2 + (1 - epsilon) * best
        taken[:, t] = generator.random(runs) < mu[:, t]
        reward[:, t] = generator.random(runs) < 0.5
        for arm in (0, 1):
            pulls[arm] += taken[:, t] == arm
            wins[arm] += (taken[:, t] == arm) * reward[:, t]
    return mu, taken, reward


def test_confidence_sequence_covers_at_all_times_of_a_log_that_learns() -> None:
    runs = 200
    mu, taken, reward = learning_logs(runs, 1000, 9, 0.02)
    always = 0
    for m, a, r in zip(mu, taken, reward, strict=True):
        weight = a / m  # pi is arm 1 for ever
        found = sequence(weight, r, UNIT, 0.1)
        always += bool(((found.low <= 0.5) & (found.high >= 0.5)).all())
    coverage(always, runs, 0.9)


def test_looking_again_and_again_undoes_the_normal_interval() -> None:
    # The same question, on policy, with the one-look interval at each of 20 looks.
    generator = np.random.default_rng(4)
    reward = drawn(generator, (200, 1000), 0.5)
    looks = range(50, 1001, 50)
    always = sum(
        all(normal(Evidence(path[:look]), 0.1).covers(0.5) for look in looks) for path in reward
    )
    assert always < 0.8 * 200
    safe = 0
    for path in reward:
        found = sequence(np.ones(1000), path, UNIT, 0.1)
        safe += bool(((found.low <= 0.5) & (found.high >= 0.5)).all())
    coverage(safe, 200, 0.9)


def test_confidence_sequence_covers_the_mean_of_a_value_that_drifts() -> None:
    # The reward's mean rises from .1 to .9 and arm 1's probability falls: no law is the same in two rows.
    generator = np.random.default_rng(12)
    n, runs = 1000, 150
    mean, mu = np.linspace(0.1, 0.9, n), np.linspace(0.9, 0.1, n)
    truth = np.cumsum(mean) / np.arange(1, n + 1)
    always = 0
    for _ in range(runs):
        weight = (generator.random(n) < mu) / mu
        found = sequence(weight, drawn(generator, n, mean), UNIT, 0.1)
        always += bool(((found.low <= truth) & (found.high >= truth)).all())
    coverage(always, runs, 0.9)


def test_confidence_sequence_holds_without_support() -> None:
    # Half of what pi does is never logged: whatever it earns there, the value is between .25 and .75.
    weight = np.full(20_000, 0.5)
    found = sequence(weight, np.array([0.0, 1.0] * 10_000), UNIT)
    assert 0.2 < found.low[-1] < 0.25
    assert 0.75 < found.high[-1] < 0.8


def test_confidence_sequence_narrows_and_intersects() -> None:
    generator = np.random.default_rng(13)
    found = sequence(np.ones(4000), drawn(generator, 4000, 0.5), (0.0, 1.0))
    width = found.high - found.low
    assert width[99] > width[999] > width[3999]
    one_look = 2 * 1.96 * 0.5 / sqrt(4000)
    assert 1.3 < width[-1] / one_look < 2.2
    fixed = found.fixed_value()
    assert (np.diff(fixed.low) >= 0).all()
    assert (np.diff(fixed.high) <= 0).all()
    assert (fixed.low >= found.low).all()


def test_confidence_sequence_scales_with_rewards_and_refuses() -> None:
    generator = np.random.default_rng(14)
    reward = generator.random(100)
    weight = generator.random(100) * 2
    unit, wide = sequence(weight, reward, UNIT), sequence(weight, 10 * reward - 5, (-5.0, 5.0))
    assert wide.low == pytest.approx(10 * unit.low - 5)
    assert wide.high == pytest.approx(10 * unit.high - 5)
    # Time t does not depend on what comes later.
    part = sequence(weight[:40], reward[:40], UNIT)
    assert part.low == pytest.approx(unit.low[:40], abs=1e-9)
    assert sequence(weight, np.ones(100), (1.0, 1.0)).low[0] == 1.0
    assert len(sequence(weight[:0], reward[:0], UNIT).low) == 0
    for bad in (
        (weight, reward, (0.0, 0.5)),
        (-weight, reward, UNIT),
        (weight[:5], reward, UNIT),
    ):
        with pytest.raises(ValueError, match=r"outside|negative|\[n\]"):
            sequence(*bad)


def test_adaptive_weights_cover_a_log_that_learns_and_narrow_it() -> None:
    # pi is arm 1 for ever; half of the learners have left it, with a share of 2.5 % at the end.
    runs = 300
    mu, taken, reward = learning_logs(runs, 1500, 15, 0.05)
    evidence = [
        Evidence.ips(two_armed(a, r, m, 1.0), UNIT, adaptive=True)
        for m, a, r in zip(mu, taken, reward, strict=True)
    ]
    found = [martingale(e) for e in evidence]
    plain = [normal(e) for e in evidence]
    coverage(sum(i.covers(0.5) for i in found), runs, 0.94)
    assert _mean_width(found) < 0.9 * _mean_width(plain)


def test_weights_that_knew_the_context_would_be_biased() -> None:
    # Context 0: reward 0, pi = mu. Context 1: reward 1, pi takes what mu takes once in 10. The truth is 1/2, whatever
    # is taken; weighted by 1/sqrt of each row's own expected_square it would be 1 / (1 + sqrt(10)) = .24.
    generator = np.random.default_rng(16)
    n = 4000
    context = generator.random(n) < 0.5
    taken = generator.random(n) < 0.1
    sample = Sample.of(
        reward=context * 1.0,
        mu=np.where(taken, 0.1, 0.9),
        pi=np.where(context, taken * 1.0, np.where(taken, 0.1, 0.9)),
        expected_square=np.where(context, 10.0, 1.0),
    )
    interval = martingale(Evidence.ips(sample, UNIT), 0.01)
    assert interval.covers(0.5)
    assert interval.low > 0.3


def test_a_million_rows_a_second() -> None:
    # Order of magnitude only, in CPU time: 5 M rows/s were measured on a slow core.
    n = 300_000
    generator = np.random.default_rng(17)
    weight, reward = generator.exponential(size=n), generator.random(n)
    start = process_time()
    sequence(weight, reward, UNIT)
    assert process_time() - start < 3.0


def _mean_width(intervals: list[ConfidenceInterval]) -> float:
    return float(np.mean([interval.half_width for interval in intervals]))


@pytest.mark.parametrize("offset", [1e7, 1e9])
def test_an_interval_moves_with_the_rewards(offset: float) -> None:
    """Squares of rewards far from 0 have no digits left for what differs."""
    generator = np.random.default_rng(7)
    taken, won = drawn(generator, 500, 0.5), drawn(generator, 500, 0.4)

    def interval(by: float) -> ConfidenceInterval:
        sample = two_armed(taken, won + by, 0.5, 0.9)
        return cressie_read(Evidence.ips(sample, (by, by + 1.0)))

    near, far = interval(0.0), interval(offset)
    assert far.low - offset == pytest.approx(near.low, abs=1e-6)
    assert far.high - offset == pytest.approx(near.high, abs=1e-6)
