"""SLOPE++ on rows where it is plain which estimator is best, and the split that keeps its choice honest."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan, sqrt
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import NotIdentifiable
from simulator.estimators import (
    DM,
    DR,
    IPS,
    SNIPS,
    Estimator,
    Mean,
    SwitchDR,
    slope,
    split,
    thresholds,
    tunings,
)
from simulator.evaluation import evaluate
from simulator.sample import Sample

if TYPE_CHECKING:
    from simulator.sample import Column


def world(n: int, error: float, seed: int = 3) -> Sample:
    """Two actions; mu takes the good one in 2% of rows, pi always. `error` is what the model thinks too much of it."""
    rng = np.random.default_rng(seed)
    good = rng.random(n) < 0.02
    mean = np.where(good, 0.6, 0.2)
    return Sample.of(
        reward=rng.random(n) < mean,
        mu=np.where(good, 0.02, 0.98),
        pi=np.where(good, 1.0, 0.0),
        q_logged=mean + error * good,
        q_pi=np.full(n, 0.6 + error) + 0.01 * rng.standard_normal(n),
    )


@dataclass(frozen=True)
class Exact(Mean[Sample]):
    """Says the same whatever it sees."""

    name: ClassVar[str] = "exact"

    says: float

    def rows(self, sample: Sample) -> Column:
        return np.full(len(sample), self.says)


def test_a_good_model_is_trusted() -> None:
    sample = world(2000, 0.0)
    chosen = slope(tunings("switch-dr", sample), sample).chosen
    assert chosen.settings["tau"] < 50  # no weight between 0 and 50: they all are the direct method
    assert chosen.value(sample) == DM().value(sample)


def test_of_equal_widths_the_later_wins() -> None:
    sample = world(2000, 0.0)
    assert slope([SwitchDR(0), SwitchDR(20), SwitchDR(inf)], sample).chosen == SwitchDR(20)
    assert slope([SwitchDR(20), SwitchDR(0), SwitchDR(inf)], sample).chosen == SwitchDR(0)


def test_a_bad_model_is_not() -> None:
    sample = world(20_000, -0.5)
    selection = slope([SwitchDR(inf), SwitchDR(10), SwitchDR(0)], sample)
    assert selection.chosen == SwitchDR(inf)
    assert selection.candidates[0].estimator == SwitchDR(inf)
    widths = [c.half_width for c in selection.candidates]
    assert widths == sorted(widths, reverse=True)


def test_with_little_data_bias_is_bearable_that_is_not_with_much() -> None:
    grid = [SwitchDR(inf), SwitchDR(0)]
    assert slope(grid, world(200, -0.1)).chosen == SwitchDR(0)
    assert slope(grid, world(200_000, -0.1)).chosen == SwitchDR(inf)


@pytest.mark.parametrize(("error", "best"), [(0.0, DM()), (-0.5, DR())])
def test_it_takes_the_better_one_in_nearly_all_logs(error: float, best: DM | DR) -> None:
    logs = [world(3000, error, seed) for seed in range(60)]
    chosen = [slope([DR(), DM()], log).chosen for log in logs]
    assert sum(estimator == best for estimator in chosen) >= 57  # 1 - delta of 60

    def square(estimators: list[DR] | list[DM] | list[Estimator[Sample]]) -> float:
        """Mean squared error over the logs."""
        pairs = zip(estimators, logs, strict=True)
        return float(np.mean([(estimator.value(log) - 0.6) ** 2 for estimator, log in pairs]))

    worse = max(square([DR()] * 60), square([DM()] * 60))
    assert square(chosen) < worse / 4


def test_the_rule_by_hand() -> None:
    """Widths w_1 > w_2: the second stays while |theta_2 - theta_1| <= w_2 + (sqrt(6) - 1) w_1."""
    sample = Sample.of([0, 2], [1, 1], [1, 1], q_logged=[0, 0], q_pi=[5, 5])
    selection = slope([DM(), IPS()], sample, delta=0.9)
    wide, sure = selection.candidates
    assert (wide.estimator, sure.estimator) == (IPS(), DM())
    assert (wide.value, sure.value, sure.half_width) == (1.0, 5.0, 0.0)
    quantile = wide.half_width  # the standard error is 1
    # Student's t with one degree of freedom at 1 - 0.9 / 4 is tan(pi (0.775 - 0.5)).
    assert quantile == pytest.approx(np.tan(np.pi * 0.275), rel=1e-12)
    assert (sqrt(6) - 1) * quantile < 4
    assert selection.chosen == IPS()
    near = Sample.of([0, 2], [1, 1], [1, 1], q_logged=[0, 0], q_pi=[2.5, 2.5])
    assert (sqrt(6) - 1) * quantile > 1.5
    assert slope([DM(), IPS()], near, delta=0.9).chosen == DM()


def test_after_the_first_that_disagrees_none_is_asked() -> None:
    sample = world(20_000, -0.5)
    # The last one agrees with the first and is the surest; but the one between them did not.
    exact = Exact(IPS().value(sample))
    assert slope([IPS(), exact], sample).chosen == exact
    assert slope([IPS(), SwitchDR(0), exact], sample).chosen == IPS()


def test_ratios_can_be_chosen_from_too() -> None:
    assert slope([SNIPS(), IPS()], world(500, 0.0)).chosen in (SNIPS(), IPS())


def test_one_candidate_is_chosen() -> None:
    assert slope([IPS()], world(10, 0.0)).chosen == IPS()


def test_equal_estimates_without_spread_agree() -> None:
    """0.1 + 0.2 against 0.3, so to say: rounding is no disagreement."""
    sample = Sample.of([0.3] * 3, [0.7] * 3, [0.7] * 3, q_logged=[0] * 3, q_pi=[0.1 + 0.2] * 3)
    assert slope([IPS(), DM()], sample).chosen == DM()


@pytest.mark.parametrize("delta", [0.0, 1.0, nan])
def test_delta_is_a_share(delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        slope([IPS()], world(10, 0.0), delta)


def test_what_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="estimators"):
        slope([], world(10, 0.0))
    with pytest.raises(NotIdentifiable, match="two at least"):
        slope([IPS()], world(1, 0.0))
    with pytest.raises(NotIdentifiable, match="needs q"):
        slope([IPS(), DM()], Sample.of([1, 0], [1, 1], [1, 1]))


class TestThresholds:
    def test_from_one_to_the_greatest_weight_and_inf(self) -> None:
        grid = thresholds(world(2000, 0.0), 6)
        assert grid[0] == 1
        assert grid[-2] == pytest.approx(50)
        assert grid[-1] == inf
        assert np.diff(np.log(grid[:-1])) == pytest.approx(np.log(50) / 4)

    def test_weights_below_one_leave_nothing_to_clip(self) -> None:
        assert thresholds(Sample.of([1], [1], [0.5])) == [1, inf]

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match="size"):
            thresholds(world(10, 0.0), 2)
        with pytest.raises(NotIdentifiable, match="no rows"):
            thresholds(Sample.of([], [], []))


class TestSplit:
    @given(n=st.integers(2, 60), share=st.floats(0.01, 0.99))
    def test_earlier_and_later_share_no_row_and_lose_none(self, n: int, share: float) -> None:
        sample = Sample.of(np.arange(n), np.ones(n), np.ones(n))
        if not 0 < int(share * n) < n:
            with pytest.raises(NotIdentifiable, match="too few"):
                split(sample, share)
            return
        earlier, later = split(sample, share)
        assert [*earlier.reward, *later.reward] == list(range(n))
        assert len(earlier) == int(share * n)

    @pytest.mark.parametrize("share", [0.0, 1.0, nan])
    def test_refuses(self, share: float) -> None:
        with pytest.raises(ValueError, match="share"):
            split(world(10, 0.0), share)


def path(n: int, seed: int) -> tuple[Sample, Column]:
    """A learner's rows and what it was worth at each: from uniform over 5 actions to .95 for the one that earns .5, not .1."""
    rng = np.random.default_rng(seed)
    best = np.linspace(0.2, 0.95, n)
    took = rng.random(n) < 0.2  # the log is uniform
    reward = (rng.random(n) < np.where(took, 0.5, 0.1)).astype(np.float64)
    pi = np.where(took, best, (1 - best) / 4)
    return Sample.of(reward, np.full(n, 0.2), pi), best * 0.5 + (1 - best) * 0.1


def test_early_rows_of_a_learner_choose_a_clip_that_cuts_away_what_it_learned() -> None:
    """So nothing is tuned for a policy that learned on the way: the bias is seen, and is gone."""
    tuned, untuned = [], []
    for seed in range(40):
        sample, value = path(5_000, seed)
        earlier, later = split(sample)
        chosen = slope(tunings("clipped", earlier), earlier).chosen
        tuned.append(chosen.value(later) - float(value[len(earlier) :].mean()))
        found = evaluate(sample, 5, "trained_on_log", ["clipped"], (0.0, 1.0))
        clipped = found.estimators["clipped"]
        assert clipped.value is not None
        assert clipped.setting == "ClippedIPS(clip=inf)"
        assert clipped.reason.startswith("not tuned")
        untuned.append(clipped.value - float(value.mean()))
    assert np.mean(tuned) < -0.2
    assert abs(np.mean(untuned)) < 0.01


def test_a_policy_that_stays_as_it_is_is_valued_on_the_rows_after_the_choice() -> None:
    sample, _ = path(2_000, 1)
    found = evaluate(sample, 5, "frozen", ["clipped"], (0.0, 1.0)).estimators["clipped"]
    earlier, later = split(sample)
    chosen = slope(tunings("clipped", earlier), earlier).chosen
    assert found.value == chosen.value(later)
    assert found.setting == repr(chosen)
    assert "trades bias for variance" in found.reason
