"""From scores to a pmf, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.exploration import epsilon, greedy, squarecb, with_floor
from policies.sums import total

SCORES = st.lists(st.sampled_from([-1.0, 0.0, 0.1, 0.3, 1.0, 1e6]), min_size=1, max_size=9)


def test_greedy() -> None:
    assert greedy(np.array([0.1])).tolist() == [1.0]
    assert greedy(np.array([0.1, 0.3, 0.2])).tolist() == [0.0, 1.0, 0.0]
    assert greedy(np.array([0.3, 0.1, 0.3, 0.3, 0.3])).tolist() == [0.25, 0.0, 0.25, 0.25, 0.25]


def test_epsilon() -> None:
    assert epsilon(np.array([1.0, 2.0]), 0.0).tolist() == [0.0, 1.0]
    assert epsilon(np.array([1.0, 2.0]), 0.5).tolist() == [0.25, 0.75]
    assert epsilon(np.array([1.0, 2.0]), 1.0).tolist() == [0.5, 0.5]


def test_squarecb() -> None:
    """K = 3, gamma = 10: 1 / (3 + 10 * 0.2) = 0.2 and 1 / (3 + 10 * 0.7) = 0.1; the best gets what is left."""
    pmf = squarecb(np.array([0.1, 0.8, 0.6]), gamma=10.0)
    assert pmf == pytest.approx([0.1, 0.7, 0.2])


def test_squarecb_shares_the_best_among_equals() -> None:
    """K = 3, gamma = 9: the worst gets 1 / (3 + 9) and the two best half of the rest each."""
    assert squarecb(np.array([1.0, 0.0, 1.0]), gamma=9.0) == pytest.approx(
        [11 / 24, 1 / 12, 11 / 24]
    )
    assert squarecb(np.array([0.5, 0.5]), gamma=100.0).tolist() == [0.5, 0.5]
    assert squarecb(np.array([3.0, 1.0, 2.0, 0.0]), gamma=0.0) == pytest.approx([0.25] * 4)
    assert squarecb(np.array([3.0]), gamma=5.0).tolist() == [1.0]


@given(SCORES, st.sampled_from([0.0, 1.0, 1e3, 1e12]), st.sampled_from([0.0, 0.05, 1.0]))
def test_every_explorer_gives_a_pmf_that_follows_the_scores(
    values: list[float], gamma: float, share: float
) -> None:
    scores = np.array(values)
    for pmf in (greedy(scores), epsilon(scores, share), squarecb(scores, gamma)):
        assert pmf.min() >= 0
        assert total(pmf) == pytest.approx(1.0, abs=1e-12)
        by_score = pmf[np.argsort(scores)]
        assert (np.diff(by_score) >= -1e-15).all(), "a better score has a smaller probability"
        for value in set(values):
            assert len(set(pmf[scores == value])) == 1, "equal scores have other probabilities"


def test_floor() -> None:
    assert with_floor(np.array([0.0, 0.0, 1.0, 0.0]), 0.2) == pytest.approx(
        [0.05, 0.05, 0.85, 0.05]
    )
    assert with_floor(np.array([0.3, 0.7]), 0.0).tolist() == [0.3, 0.7]


def test_total_adds_from_left_to_right() -> None:
    """1e16 + 1 is 1e16 in double precision, so the order shows."""
    assert total(np.array([1e16, 1.0, 1.0, -1e16])) == 0.0
    assert total(np.array([1.0, 1.0, 1e16, -1e16])) == 2.0
    many = np.full(1001, 0.1)
    expected = 0.0
    for x in many.tolist():
        expected += x
    assert total(many) == expected
