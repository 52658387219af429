"""The exact pmf of Thompson sampling, against a million draws and against what can be worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from policies.best_of import best_of_normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 1_000_000
# The project's bar. A frequency of a million draws is off by 0.0005 on its own.
MOST = 0.005
RNG = np.random.default_rng(5)
# Means and standard deviations; these differ by up to a factor of 1,000.
CASES = {
    "all alike": (np.zeros(20), np.ones(20)),
    "one is much wider": (np.zeros(20), np.r_[np.full(19, 0.02), 1.0]),
    "one is a thousand times as wide": (np.zeros(20), np.r_[np.full(19, 0.001), 1.0]),
    "two, one a thousand times as wide": (np.array([0.0, 0.5]), np.array([1.0, 0.001])),
    "every width": (RNG.normal(0, 0.1, 20), 10 ** RNG.uniform(-3, 0, 20)),
    "every width, far apart": (RNG.normal(0, 1, 20), 10 ** RNG.uniform(-3, 0, 20)),
    "a hundred": (RNG.normal(0, 0.3, 100), 10 ** RNG.uniform(-2, 0, 100)),
}


def frequencies(mean: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    rng, counts = np.random.default_rng(6), np.zeros(len(mean))
    for _ in range(10):
        drawn = rng.normal(mean, sd, (DRAWS // 10, len(mean)))
        counts += np.bincount(drawn.argmax(axis=1), minlength=len(mean))
    return counts / DRAWS


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_against_brute_force(case: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    pmf = best_of_normals(*case)
    assert abs(pmf.sum() - 1.0) < 0.001, "as it came from the integral, not scaled"
    assert np.abs(pmf - frequencies(*case)).max() <= MOST


@pytest.mark.parametrize("count", [1, 2, 3, 1_000])
def test_equal_arms_have_equal_shares(count: int) -> None:
    pmf = best_of_normals(np.full(count, 7.0), np.full(count, 0.1))
    assert pmf == pytest.approx(np.full(count, 1 / count), rel=0.01)


def test_two_by_hand() -> None:
    """P(X > Y) = Phi((0.3 - 0) / sqrt(0.4^2 + 0.3^2)) = Phi(0.6) = 0.72575."""
    pmf = best_of_normals(np.array([0.3, 0.0]), np.array([0.4, 0.3]))
    assert pmf == pytest.approx([0.72575, 0.27425], abs=5e-5)


def test_who_cannot_win_gets_nothing() -> None:
    assert best_of_normals(np.array([0.0, 100.0]), np.ones(2)).tolist() == [0.0, 1.0]


def test_the_scale_of_rewards_changes_nothing() -> None:
    mean, sd = CASES["every width"]
    assert (
        best_of_normals(1024.0 * mean, 1024.0 * sd).tolist() == best_of_normals(mean, sd).tolist()
    )
