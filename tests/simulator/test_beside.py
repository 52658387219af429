"""Which interval stands beside an estimate, and which are refused there."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.evaluation import evaluate
from simulator.intervals import INTERVALS
from simulator.sample import Sample

TRUTH = 0.5


def sample(n: int = 2_000) -> Sample:
    """Two actions, a uniform log, a policy that takes the first; it earns .5, as q knows, the other .2."""
    rng = np.random.default_rng(1)
    took = rng.random(n) < 0.5
    reward = (rng.random(n) < np.where(took, TRUTH, 0.2)).astype(np.float64)
    ones = np.ones(n)
    return Sample.of(
        reward,
        ones / 2,
        took.astype(np.float64),
        q_logged=np.where(took, TRUTH, 0.2),
        q_pi=ones * TRUTH,
        unsupported=0 * ones,
        expected_square=2 * ones,
        w_max=2 * ones,
        w_min=0 * ones,
    )


# Which hold where: of the others it is said why not.
FROZEN = {
    "ips": set(INTERVALS),
    "dr": {"normal", "bootstrap", "martingale"},
    "snips": {"normal", "bootstrap"},
}
LEARNED = {"ips": {"normal", "confidence_sequence"}, "dr": {"normal"}, "snips": {"normal"}}


@pytest.mark.parametrize("interval", sorted(INTERVALS))
@pytest.mark.parametrize("name", ["ips", "dr", "snips"])
@pytest.mark.parametrize(("estimand", "holds"), [("frozen", FROZEN), ("trained_on_log", LEARNED)])
def test_an_interval_that_holds_is_given_and_no_other(
    interval: str, name: str, estimand: str, holds: dict[str, set[str]]
) -> None:
    found = evaluate(sample(), 2, estimand, [name], (0.0, 1.0), interval=interval).estimators[name]
    assert found.value == pytest.approx(TRUTH, abs=0.05)
    assert found.identifiable
    if interval in holds[name]:
        assert found.low is not None
        assert found.high is not None
        assert found.low < TRUTH < found.high
        assert not found.reason
    else:
        assert found.low is None
        assert found.high is None
        assert found.reason


@pytest.mark.parametrize("interval", sorted(INTERVALS))
def test_what_rests_on_a_range_that_was_only_met_says_so(interval: str) -> None:
    """Those are told from the others by what they call their method."""
    bounded = {"clopper_pearson", "confidence_sequence", "cressie_read", "empirical_bernstein"}
    found = evaluate(sample(), 2, "frozen", ["ips"], (0.0, 1.0), interval=interval, range_met=True)
    assert ("say the reward range" in found.estimators["ips"].reason) == (interval in bounded)


def test_one_log_has_one_bootstrap_interval() -> None:
    one, two = (
        evaluate(sample(), 2, "frozen", ["ips"], (0.0, 1.0), interval="bootstrap") for _ in range(2)
    )
    assert one == two


def test_without_a_name_it_is_what_suits() -> None:
    frozen = evaluate(sample(), 2, "frozen", ["ips", "dr"], (0.0, 1.0)).estimators
    assert frozen["ips"].interval == "empirical likelihood"
    learned = evaluate(sample(), 2, "trained_on_log", ["ips"], (0.0, 1.0)).estimators
    assert learned["ips"].interval == frozen["dr"].interval != frozen["ips"].interval


def test_there_is_no_such_interval() -> None:
    with pytest.raises(ValueError, match="known are bootstrap"):
        evaluate(sample(), 2, "frozen", ["ips"], (0.0, 1.0), interval="norml")
