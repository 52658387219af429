"""Logs round: what comes of it is the same as if they had not, within what was rounded, and what is exact stays to the bit."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.features import NO_FEATURES, encode_actions
from simulator.evaluation import Evaluation, evaluate
from simulator.logs import ArraysLog, Decided
from simulator.replay import replay
from simulator.sample import Sample

THREE = encode_actions(["a", "b", "c"], [])


def decided(pmf: list[float], propensity: float, chosen: int = 0) -> Decided:
    return Decided("e", 0, NO_FEATURES, THREE, chosen, np.array(pmf), propensity)


class Fixed:
    """A policy that always does the same."""

    name = "fixed"
    estimand = "frozen"

    def __init__(self, pmf: list[float]) -> None:
        self._pmf = np.array(pmf)

    def pmf(self, decision: Decided) -> Any:
        return self._pmf

    def learn(self, matured: object) -> None:
        """Nothing."""


def asked(mu: list[float], pscore: list[float] | None, pi: list[float], **how: str) -> Evaluation:
    """IPS of `pi` on 600 rows that were drawn from about `mu`; what was logged of the propensities is `pscore` [K]."""
    rng = np.random.default_rng(1)
    k = len(mu)
    action = rng.choice(k, 600, p=np.array(mu) / sum(mu))
    feedback: dict[str, Any] = {
        "context": np.zeros((600, 1)),
        "action": action,
        "reward": (rng.random(600) < 0.2 + 0.2 * action).astype(float),
        "pi_b": np.tile(mu, (600, 1)),
    }
    if pscore is not None:
        feedback["pscore"] = np.array(pscore)[action]
    found = replay(ArraysLog(feedback), [Fixed(pi)]).replayed[0]
    return evaluate(found.sample, found.actions, "frozen", ["ips"], (0.0, 1.0), **how)  # type: ignore[arg-type]


def test_a_pmf_of_four_digits_is_made_whole_and_its_propensity_with_it() -> None:
    found = decided([0.3333, 0.3333, 0.3333], 0.3333)
    assert found.pmf is not None
    assert found.pmf.tolist() == [1 / 3] * 3
    assert found.propensity == 1 / 3
    assert decided([2 / 3, 1 / 6, 1 / 6], 0.6667).propensity == 2 / 3


def test_what_contradicts_the_pmf_stays_as_it_was_logged() -> None:
    assert decided([0.5, 0.3, 0.2], 0.4).propensity == 0.4
    assert decided([0.0, 0.8, 0.2], 5e-5).propensity == 5e-5  # or a weight would be infinite


@given(st.lists(st.integers(1, 10**6), min_size=3, max_size=3), st.integers(0, 2))
def test_what_is_exact_stays_to_the_bit(parts: list[int], chosen: int) -> None:
    pmf = [float(Fraction(part, sum(parts))) for part in parts]
    for propensity in (pmf[chosen], float(np.nextafter(pmf[chosen], 0.0))):
        found = decided(pmf, propensity, chosen)
        assert found.pmf is not None
        assert found.pmf.tolist() == pmf
        assert found.propensity == propensity


@given(st.lists(st.integers(1, 100), min_size=3, max_size=3), st.integers(2, 4), st.integers(0, 2))
def test_however_it_was_rounded_the_pmf_sums_to_1(
    parts: list[int], digits: int, chosen: int
) -> None:
    pmf = [round(part / sum(parts), digits) for part in parts]
    if not pmf[chosen] or abs(sum(pmf) - 1) > 9e-4:
        return  # refused: too coarse
    found = decided(pmf, pmf[chosen], chosen)
    assert found.pmf is not None
    assert abs(float(found.pmf.sum()) - 1) < 1e-12
    assert found.propensity == pytest.approx(found.pmf[chosen], rel=1e-12)


@pytest.mark.parametrize("pscore", [None, [0.3333] * 3, [0.333] * 3], ids=["none", "4", "3"])
def test_a_rounded_log_gives_what_the_exact_one_gives(pscore: list[float] | None) -> None:
    pi = [0.2, 0.2, 0.6]
    exact = asked([1 / 3] * 3, None, pi).estimators["ips"]
    rounded = asked([0.3333] * 3, pscore, pi).estimators["ips"]
    assert rounded.interval == exact.interval == "empirical likelihood"
    for name in ("value", "low", "high"):
        assert getattr(rounded, name) == pytest.approx(getattr(exact, name), rel=1e-9)


@pytest.mark.parametrize("method", ["cressie_read", "empirical_bernstein", "clopper_pearson"])
def test_contradicting_propensities_cost_the_interval_and_not_the_run(method: str) -> None:
    # Action 2 is said to be drawn less often than its pmf says: a greater weight is met than can be.
    given: tuple[list[float], ...] = ([0.5, 0.3, 0.2], [0.5, 0.3, 0.15], [0.0, 0.0, 1.0])
    left = asked(*given).estimators["ips"]
    assert left.interval == "Student t"
    assert left.value is not None
    named = asked(*given, interval=method).estimators["ips"]
    assert named.value == left.value
    assert named.low is None
    assert "met" in named.reason


def test_an_exact_pmf_is_not_touched() -> None:
    """The same array, not an equal one: nothing is computed where nothing was rounded."""
    mu = np.array([0.25, 0.25, 0.5])
    made = Decided("e", 0, NO_FEATURES, THREE, 2, mu, 0.5)
    assert made.pmf is mu


@pytest.mark.parametrize("count", [60, 700, 3_000])
def test_many_actions_rounded_to_four_digits_are_a_pmf(count: int) -> None:
    """Each is off by half a unit of the last digit at most: 60 of 0.0167 are 1.002, 3,000 of 0.0003 are 0.9."""
    p = round(1 / count, 4)
    actions = encode_actions([str(k) for k in range(count)], [])
    found = Decided("e", 0, NO_FEATURES, actions, 0, np.full(count, p), p)
    assert found.pmf is not None
    assert found.pmf.tolist() == pytest.approx([1 / count] * count)
    assert found.propensity == pytest.approx(1 / count)
    pmfs = np.full((2, count), p)
    assert len(Sample.of_pmfs([1.0, 0.0], [0, 1], pi=pmfs, mu=pmfs)) == 2


def test_what_so_many_roundings_cannot_have_done_is_refused() -> None:
    actions = encode_actions([str(k) for k in range(60)], [])
    with pytest.raises(ValueError, match=r"its sum 1\.01"):
        Decided("e", 0, NO_FEATURES, actions, 0, np.full(60, 1.01 / 60), 1.01 / 60)
    many = encode_actions([str(k) for k in range(20_000)], [])
    with pytest.raises(ValueError, match="its sum 0"):
        Decided("e", 0, NO_FEATURES, many, 0, np.zeros(20_000), 1.0)
