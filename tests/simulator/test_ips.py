"""IPS against sums that can be done by hand."""

from __future__ import annotations

import json
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

from simulator import Ips, NotIdentifiable, weight_range

OBD = Path(__file__).parents[3] / "shared" / "data" / "obd"


def added(weights: list[float], rewards: list[float]) -> Ips:
    ips = Ips()
    for w, r in zip(weights, rewards, strict=True):
        ips.add(w, r)
    return ips


def test_by_hand() -> None:
    ips = added([2.0, 0.5, 0.0, 4.0], [1.0, 2.0, 5.0, -1.0])
    assert (ips.n, ips.w, ips.w2) == (4, 6.5, 20.25)
    assert (ips.wr, ips.w2r, ips.w2r2) == (2 + 1 - 4, 4 + 0.5 - 16, 4 + 1 + 16)
    assert ips.value == -1 / 4
    assert ips.mean_weight == 6.5 / 4
    assert ips.ess == 6.5**2 / 20.25
    assert (ips.min_weight, ips.max_weight) == (0.0, 4.0)
    assert (ips.min_reward, ips.max_reward) == (-1.0, 5.0)


def test_rows_one_by_one_equal_rows_at_once_equal_parts_merged() -> None:
    # Halves and quarters: no sum rounds, so the three must agree to the bit.
    rng = np.random.default_rng(1)
    weights = (rng.integers(0, 40, 100) / 4).tolist()
    rewards = (rng.integers(-8, 9, 100) / 2).tolist()
    one_by_one = added(weights, rewards)
    assert Ips.of(weights, rewards) == one_by_one
    parts = [Ips.of(weights[i : i + 30], rewards[i : i + 30]) for i in range(0, 100, 30)]
    merged = Ips()
    for part in parts:
        merged = merged.merge(part)
    assert merged == one_by_one


def test_merging_leaves_both_parts_alone() -> None:
    a, b = Ips.of([1.0], [1.0]), Ips.of([3.0], [0.0])
    a.merge(b)
    assert a == Ips.of([1.0], [1.0])
    assert b == Ips.of([3.0], [0.0])


def test_nothing_yet_has_no_value() -> None:
    assert Ips.of([], []) == Ips()
    assert Ips().ess == 0.0
    with pytest.raises(NotIdentifiable, match="no rows"):
        _ = Ips().value
    with pytest.raises(NotIdentifiable, match="no rows"):
        _ = Ips().mean_weight


@pytest.mark.parametrize(
    ("weight", "reward", "message"),
    [
        (-1.0, 0.0, "weight -1.0 of row 1"),
        (nan, 0.0, "weight nan of row 1"),
        (inf, 0.0, "weight inf of row 1"),
        (1.0, nan, "reward nan of row 1"),
        (1.0, -inf, "reward -inf of row 1"),
    ],
)
def test_bad_rows_are_refused_by_number_and_change_nothing(
    weight: float, reward: float, message: str
) -> None:
    ips = Ips.of([1.0], [1.0])
    with pytest.raises(ValueError, match=message):
        ips.add(weight, reward)
    assert ips == Ips.of([1.0], [1.0])
    with pytest.raises(ValueError, match=message):
        Ips.of([1.0, weight], [1.0, reward])


def test_columns_must_match() -> None:
    with pytest.raises(ValueError, match="must both be"):
        Ips.of([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="must both be"):
        Ips.of([[1.0]], [[1.0]])


def test_unbiased_whatever_logged() -> None:
    """The mean over all actions of each row's draw probability times w r is exactly the policy's value."""
    mu, pi = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.1, 0.8])
    reward = np.array([1.0, 0.0, 0.5])
    expected = sum(mu[a] * Ips.of([pi[a] / mu[a]], [reward[a]]).value for a in range(3))
    assert expected == pytest.approx(float(pi @ reward), rel=1e-15)


class TestWeightRange:
    def test_counts_actions_that_were_not_taken(self) -> None:
        # A realised weight can only be one of a row's three; the range must hold all of them.
        assert weight_range([0.1, 0.1, 0.8], [0.5, 0.4, 0.1]) == (0.2, 8.0)

    def test_over_all_rows(self) -> None:
        assert weight_range([[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.25, 0.75]]) == (0.0, 4.0)

    def test_on_policy_is_exactly_one(self) -> None:
        pmf = [[1 / 3, 2 / 3], [0.1, 0.9]]
        assert weight_range(pmf, pmf) == (1.0, 1.0)

    def test_missing_support_is_infinite(self) -> None:
        assert weight_range([0.5, 0.5], [1.0, 0.0]) == (0.5, inf)

    def test_what_neither_takes_does_not_count(self) -> None:
        assert weight_range([1.0, 0.0], [1.0, 0.0]) == (1.0, 1.0)

    @pytest.mark.parametrize(
        ("pi", "mu", "message"),
        [
            ([0.5, 0.5], [1.0], "one shape"),
            ([], [], "not be empty"),
            ([-0.1, 1.1], [0.5, 0.5], "pi has a value outside"),
            ([0.5, 0.5], [nan, 1.0], "mu has a value outside"),
        ],
    )
    def test_what_is_no_pmf_is_refused(
        self, pi: list[float], mu: list[float], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            weight_range(pi, mu)


@pytest.mark.skipif(not OBD.is_dir(), reason="the reference data ../shared/data/obd is not here")
def test_open_bandit_data_set() -> None:
    expected = json.loads((OBD / "all_random2bts.expected.json").read_text())
    with np.load(OBD / "all_random2bts.npz") as data:
        w, reward = data["w"], data["reward"]
        pi = data["action_dist"][data["action"], data["position"]]
        assert pi / data["pscore"] == pytest.approx(w, rel=1e-12)
    ips = Ips.of(w, reward)
    assert ips.n == expected["n"]
    assert ips.value == pytest.approx(expected["estimates"]["ipw"], abs=1e-9)
    assert ips.mean_weight == pytest.approx(expected["w"]["mean"], abs=1e-9)
    assert ips.max_weight == pytest.approx(expected["w"]["max"], abs=1e-9)
    assert ips.ess == pytest.approx(expected["w"]["ess"], abs=1e-6)
    one_by_one = added(w.tolist(), reward.tolist())
    assert one_by_one.value == pytest.approx(expected["estimates"]["ipw"], abs=1e-9)
