"""Estimators against sums by hand, against each other where they must agree, and against obp's figures."""

from __future__ import annotations

import json
from math import inf, isnan, nan, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Ips, NotIdentifiable
from simulator.estimators import (
    DM,
    DR,
    ESTIMATORS,
    IPS,
    MRDR,
    SNDR,
    SNIPS,
    ClippedIPS,
    DRos,
    Estimator,
    Mean,
    Ratio,
    SwitchDR,
    create,
    mrdr_weight,
    standard_error,
    tunings,
)
from simulator.sample import Sample

OBD = Path(__file__).parents[3] / "shared" / "data" / "obd"
GOLDEN = Path(__file__).with_name("estimators_golden.json")
# One of each; settings of which the hand-made sample has weights on either side.
EACH = [create(name, {cls.tuned: 1.5} if cls.tuned else {}) for name, cls in ESTIMATORS.items()]


def hand() -> Sample:
    """Weights 2, 0, 1, 0.5."""
    return Sample.of(
        reward=[1, 5, 0, 2],
        mu=[0.25, 0.5, 0.5, 0.5],
        pi=[0.5, 0, 0.5, 0.25],
        q_logged=[0.5, 1, 0.5, 1],
        q_pi=[0.25, 1, 0.75, 1],
    )


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    n = draw(st.integers(1, 8))

    def column(low: float, high: float) -> list[float]:
        return draw(st.lists(st.floats(low, high), min_size=n, max_size=n))

    return Sample.of(
        reward=column(-2, 2),
        mu=column(0.01, 1),
        pi=[0.5, *column(0, 1)[1:]],  # some weight, for the ratios
        q_logged=column(-1, 1),
        q_pi=column(-1, 1),
    )


def close(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("estimator", "rows"),
    [
        (IPS(), [2, 0, 0, 1]),
        (ClippedIPS(1.5), [1.5, 0, 0, 1]),
        (DM(), [0.25, 1, 0.75, 1]),
        (DR(), [1.25, 1, 0.25, 1.5]),
        (MRDR(), [1.25, 1, 0.25, 1.5]),
        (SwitchDR(1), [0.25, 1, 0.25, 1.5]),
        (DRos(4), [0.25 + 8 / 8 * 0.5, 1, 0.75 - 4 / 5 * 0.5, 1 + 2 / 4.25 * 1]),
    ],
)
def test_rows_by_hand(estimator: Mean[Sample], rows: list[float]) -> None:
    assert estimator.rows(hand()).tolist() == pytest.approx(rows, rel=1e-15)
    assert estimator.value(hand()) == pytest.approx(sum(rows) / 4, rel=1e-15)
    assert estimator.influence(hand()).tolist() == estimator.rows(hand()).tolist()


def test_ratios_by_hand() -> None:
    assert SNIPS().value(hand()) == 3 / 3.5
    assert SNDR().value(hand()) == pytest.approx(0.75 + (1 - 0.5 + 0.5) / 3.5, rel=1e-15)
    ratio = 3 / 3.5
    residuals = [(2 - 2 * ratio), 0, -ratio, (1 - 0.5 * ratio)]
    expected = [ratio + residual / (3.5 / 4) for residual in residuals]
    assert SNIPS().influence(hand()).tolist() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("estimator", EACH, ids=lambda e: e.name)
@given(sample=samples())
def test_the_mean_of_the_influence_is_the_value(
    estimator: Estimator[Sample], sample: Sample
) -> None:
    assert float(estimator.influence(sample).mean()) == close(estimator.value(sample))


@given(sample=samples())
def test_on_policy_ips_and_snips_are_the_mean_reward(sample: Sample) -> None:
    same = Sample.of(sample.reward, sample.mu, sample.mu)
    assert IPS().value(same) == close(float(sample.reward.mean()))
    assert SNIPS().value(same) == close(float(sample.reward.mean()))


@given(sample=samples())
def test_a_model_that_expects_nothing_changes_nothing(sample: Sample) -> None:
    none = np.zeros(len(sample))
    blank = Sample.of(sample.reward, sample.mu, sample.pi, q_logged=none, q_pi=none)
    assert DR().value(blank) == IPS().value(blank)
    assert MRDR().value(blank) == IPS().value(blank)
    assert SNDR().value(blank) == SNIPS().value(blank)
    assert DM().value(blank) == 0


@given(sample=samples())
def test_at_their_ends_settings_give_the_plain_estimators(sample: Sample) -> None:
    assert ClippedIPS(inf).value(sample) == IPS().value(sample)
    assert ClippedIPS(0).value(sample) == 0
    assert SwitchDR(inf).value(sample) == DR().value(sample)
    assert SwitchDR(0).value(sample) == DM().value(sample)
    assert DRos(inf).value(sample) == DR().value(sample)
    assert DRos(0).value(sample) == DM().value(sample)
    assert DRos(1e22).value(sample) == close(DR().value(sample))
    assert DRos(1e-22).value(sample) == close(DM().value(sample))


@given(sample=samples(), shift=st.floats(-3, 3))
def test_self_normalised_ones_shift_with_the_rewards(sample: Sample, shift: float) -> None:
    shifted = Sample.of(
        sample.reward + shift,
        sample.mu,
        sample.pi,
        q_logged=sample.q_logged,
        q_pi=sample.q_pi,
    )
    for estimator in (SNIPS(), SNDR()):
        assert estimator.value(shifted) == close(estimator.value(sample) + shift)
    assert sample.reward.min() - 1e-9 <= SNIPS().value(sample) <= sample.reward.max() + 1e-9


@given(sample=samples())
def test_ips_is_the_streaming_one(sample: Sample) -> None:
    assert IPS().value(sample) == close(Ips.of(sample.weight, sample.reward).value)


def test_dr_is_unbiased_whatever_the_model() -> None:
    """Over all actions of one row, each as likely as it was to be drawn."""
    mu, pi = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.1, 0.8])
    reward, q = np.array([1.0, 0.0, 0.5]), np.array([3.0, -2.0, 0.25])
    whole = Sample.of(reward, mu, pi, q_logged=q, q_pi=[float(pi @ q)] * 3)
    for estimator in (IPS(), DR()):
        assert float(mu @ estimator.rows(whole)) == pytest.approx(float(pi @ reward), rel=1e-14)


def test_mrdr_weights_make_the_squared_error_the_variance_of_dr() -> None:
    """Exactly so for a deterministic pi; that is what the paper minimises."""
    mu, pi = np.array([0.7, 0.2, 0.1]), np.array([0.0, 1.0, 0.0])
    reward, q = np.array([1.0, 0.25, 0.5]), np.array([3.0, -2.0, 0.5])
    rows = DR().rows(Sample.of(reward, mu, pi, q_logged=q, q_pi=[float(pi @ q)] * 3))
    variance = mu @ rows**2 - (mu @ rows) ** 2
    assert float(mu @ (mrdr_weight(pi, mu) * (reward - q) ** 2)) == pytest.approx(float(variance))
    # And for another pi it is the diagonal of the paper's quadratic form.
    pi = np.array([0.2, 0.5, 0.3])
    omega = np.diag(pi**2 / mu) - np.outer(pi, pi)
    diagonal = np.diag(omega) @ (reward - q) ** 2
    assert float(mu @ (mrdr_weight(pi, mu) * (reward - q) ** 2)) == pytest.approx(float(diagonal))


def test_the_delta_method_finds_the_spread_of_snips() -> None:
    rng = np.random.default_rng(7)
    mu, pi, mean = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5]), np.array([0.2, 0.5, 0.7])
    values, errors = [], []
    for _ in range(400):
        a = rng.choice(3, 300, p=mu)
        sample = Sample.of(rng.random(300) < mean[a], mu[a], pi[a])
        values.append(SNIPS().value(sample))
        errors.append(standard_error(SNIPS().influence(sample)))
    # The spread of 400 values is known to about 1 / sqrt(800), 3.5%; of bias there is some 1 / 300.
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.12)
    assert np.mean(values) == pytest.approx(float(pi @ mean), abs=0.01)


def test_standard_error() -> None:
    assert standard_error(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(sqrt(5 / 3) / 2)
    assert isnan(standard_error(np.array([1.0])))


@pytest.mark.parametrize("estimator", EACH, ids=lambda e: e.name)
def test_what_the_sample_cannot_tell_is_refused(estimator: Estimator[Sample]) -> None:
    with pytest.raises(NotIdentifiable, match="no rows"):
        estimator.value(Sample.of([], [], []))
    with pytest.raises(NotIdentifiable, match="no rows"):
        estimator.influence(Sample.of([], [], []))
    bare = Sample.of([1, 0], [0.5, 0.5], [0.5, 0.5], q_logged=[1, nan], q_pi=[1, 1])
    if estimator.needs_model:
        for ask in (estimator.value, estimator.influence):
            with pytest.raises(NotIdentifiable, match=rf"{estimator.name} needs q and row 1 .*fit"):
                ask(bare)
    else:
        assert estimator.value(bare) == 0.5


@pytest.mark.parametrize("estimator", [SNIPS(), SNDR()], ids=lambda e: e.name)
def test_no_weight_at_all_has_no_ratio(estimator: Ratio) -> None:
    never = Sample.of([1], [0.5], [0], q_logged=[1], q_pi=[1])
    with pytest.raises(NotIdentifiable, match="all weights are 0"):
        estimator.value(never)


class TestRegistry:
    def test_names_are_the_estimators_own(self) -> None:
        assert {estimator.name for estimator in EACH} == set(ESTIMATORS)
        assert list(ESTIMATORS) == [e.name for e in EACH]

    def test_settings_come_back(self) -> None:
        assert create("clipped", {"clip": 3}) == ClippedIPS(3)
        assert create("clipped", {"clip": 3}).settings == {"clip": 3}
        assert create("snips").settings == {}
        assert create("mrdr") == MRDR()
        assert MRDR() != DR()

    @pytest.mark.parametrize(
        ("name", "settings", "message"),
        [
            ("snip", {}, "no estimator 'snip'; snips"),
            ("nothing like it", {}, "clipped, dm, dr"),
            ("ips", {"clip": 1.0}, "ips has no setting 'clip'; it has none"),
            ("dros", {"tau": 1.0}, r"no setting 'tau'; it has \['lambda_'\]"),
            ("switch-dr", {}, "needs tau: state it, or let SLOPE"),
            ("switch-dr", {"tau": -1.0}, "tau -1.0: must be at least 0"),
            ("clipped", {"clip": nan}, "clip nan"),
            ("dros", {"lambda_": -0.5}, "lambda_ -0.5"),
        ],
    )
    def test_what_is_wrong_is_named(
        self, name: str, settings: dict[str, float], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            create(name, settings)

    def test_tunings(self) -> None:
        assert tunings("clipped", hand(), 3) == [ClippedIPS(1), ClippedIPS(2), ClippedIPS(inf)]
        assert tunings("switch-dr", hand(), 3) == [SwitchDR(t) for t in (0, 1, 2, inf)]
        assert tunings("dros", hand(), 3) == [DRos(t) for t in (0, 1, 4, inf)]
        assert tunings("dr", hand()) == [DR()]
        with pytest.raises(ValueError, match="no estimator"):
            tunings("drs", hand())


def test_golden() -> None:
    """Against exact fractions, see make_estimators_golden.py."""
    golden = json.loads(GOLDEN.read_text())
    sample = Sample.of(**golden["rows"])
    assert set(golden["expected"]) == set(ESTIMATORS)
    for name, expected in golden["expected"].items():
        estimator = create(name, golden["settings"].get(name))
        assert estimator.value(sample) == pytest.approx(expected, rel=1e-13, abs=1e-13), name


@pytest.mark.skipif(not OBD.is_dir(), reason="the reference data ../shared/data/obd is not here")
def test_open_bandit_data_set() -> None:
    expected = json.loads((OBD / "all_random2bts.expected.json").read_text())["estimates"]
    with np.load(OBD / "all_random2bts.npz") as data:
        sample = Sample.of(
            data["reward"],
            data["pscore"],
            data["w"] * data["pscore"],
            q_logged=data["q_logged"],
            q_pi=data["q_pi"],
        )
    ours: dict[str, Estimator[Sample]] = {
        "ipw": IPS(),
        "snipw": SNIPS(),
        "dm": DM(),
        "dr": DR(),
        "sndr": SNDR(),
        "switch-dr(lambda=10)": SwitchDR(10),
        "dr-os(lambda=500)": DRos(500),
        "ipw(clip=10)": ClippedIPS(10),
    }
    assert set(ours) == set(expected)
    for name, estimator in ours.items():
        assert estimator.value(sample) == pytest.approx(expected[name], abs=1e-9), name
