"""Draws: uniform, independent of one another, recomputable, and exactly as likely as the pmf says."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from policies.sampler import Purpose, draw, draw_without_replacement, seed, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

N = 100_000
# Every purpose, and several slots of one.
STREAMS = [
    (Purpose.DRAW, 0),
    (Purpose.DRAW, 1),
    (Purpose.DRAW, 2),
    (Purpose.POLICY, 0),
    (Purpose.EXPERIMENT, 0),
]
RARE = 1e-6  # a correct sampler fails one of these tests, with other seeds, once in a million


@pytest.fixture(scope="module")
def streams() -> list[NDArray[np.float64]]:
    """The same 100,000 consecutive event ids, as clients count them, for each purpose and slot."""
    return [
        np.array([uniform(b"salt", purpose, slot, f"event-{i}") for i in range(N)])
        for purpose, slot in STREAMS
    ]


def p_value(counts: NDArray[Any], expected: NDArray[np.float64] | float) -> float:
    """Of Pearson's chi-square test."""
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), counts.size - 1))


def test_the_purposes_tested_here_are_all_there_are() -> None:
    assert {purpose for purpose, _ in STREAMS} == set(Purpose)


def test_uniform(streams: list[NDArray[np.float64]]) -> None:
    for stream, u in zip(STREAMS, streams, strict=True):
        counts, _ = np.histogram(u, bins=256, range=(0.0, 1.0))
        assert p_value(counts, N / 256) > RARE, stream
        # The lowest bits as well as the highest.
        low = np.bincount((u * 2**53).astype(np.int64) & 255, minlength=256)
        assert p_value(low, N / 256) > RARE, stream


def test_streams_are_independent(streams: list[NDArray[np.float64]]) -> None:
    for (a, u), (b, v) in combinations(list(zip(STREAMS, streams, strict=True)), 2):
        table, _, _ = np.histogram2d(u, v, bins=16, range=[(0, 1), (0, 1)])
        assert p_value(table, N / 256) > RARE, (a, b)
        # A correlation of independent streams has a standard deviation of 1 / sqrt(N).
        assert abs(np.corrcoef(u, v)[0, 1]) < 5 / np.sqrt(N), (a, b)


def test_neighbouring_ids_are_independent(streams: list[NDArray[np.float64]]) -> None:
    for stream, u in zip(STREAMS, streams, strict=True):
        table, _, _ = np.histogram2d(u[:-1], u[1:], bins=16, range=[(0, 1), (0, 1)])
        assert p_value(table, (N - 1) / 256) > RARE, stream


def test_bits_are_for_ever() -> None:
    """Whoever has the salt can recompute them from the log: BLAKE2b(key=salt), purpose and slot as 4 bytes, event id."""
    assert seed(b"salt", Purpose.DRAW, 0, "event-1") == 12604407544887216546
    assert uniform(b"salt", Purpose.DRAW, 0, "event-1") == (12604407544887216546 >> 11) / 2**53


def test_salts_apps_and_slots_matter() -> None:
    seeds = {
        seed(salt, purpose, slot, event)
        for salt in (b"", b"a", b"b")
        for purpose in Purpose
        for slot in (0, 1, 256)
        for event in ("", "e", "\x00e")
    }
    assert len(seeds) == 3 * len(Purpose) * 3 * 3


def test_draws_are_as_likely_as_the_pmf_says(streams: list[NDArray[np.float64]]) -> None:
    pmf = np.array([0.5, 0.0, 0.3, 0.15, 0.05, 0.0])
    counts = np.bincount([draw(pmf, u) for u in streams[0]], minlength=6)
    assert counts[pmf == 0].tolist() == [0, 0]
    assert p_value(counts[pmf > 0], N * pmf[pmf > 0]) > RARE


@given(
    st.lists(st.sampled_from([0.0, 0.0, 1e-300, 0.1, 0.25, 1.0]), min_size=1, max_size=8).filter(
        any
    ),
    st.sampled_from([0.0, 2.0**-53, 0.1, 0.5, 1 - 2.0**-53]) | st.floats(0, 1, exclude_max=True),
)
def test_what_cannot_be_is_never_drawn(weights: list[float], u: float) -> None:
    """A pmf may sum to a little more or less than 1; the ends of [0, 1) and of the list are where errors hide."""
    pmf = np.array(weights) / sum(weights)
    assert pmf[draw(pmf, u)] > 0


def test_draw_by_hand() -> None:
    pmf = np.array([0.25, 0.0, 0.5, 0.25])
    assert [draw(pmf, u) for u in (0.0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2.0**-53)] == [
        0,
        0,
        2,
        2,
        3,
        3,
    ]


def test_without_replacement_against_enumeration(streams: list[NDArray[np.float64]]) -> None:
    """All 24 ordered triples of 4 actions: each is drawn as often as the product of its conditionals says."""
    pmf = np.array([0.4, 0.3, 0.2, 0.1])
    exact: dict[tuple[int, ...], float] = {}
    for triple in permutations(range(4), 3):
        left, probability = 1.0, 1.0
        for k in triple:
            probability *= pmf[k] / left
            left -= pmf[k]
        exact[triple] = probability
    assert sum(exact.values()) == pytest.approx(1.0)

    counts = dict.fromkeys(exact, 0)
    n = 30_000
    for i in range(n):
        chosen, conditionals = draw_without_replacement(pmf, [float(u[i]) for u in streams[:3]])
        counts[tuple(chosen)] += 1
        assert np.prod(conditionals) == pytest.approx(exact[tuple(chosen)], rel=1e-12)
    drawn, expected = np.array(list(counts.values())), n * np.array(list(exact.values()))
    assert p_value(drawn, expected) > RARE


def test_the_first_of_several_is_the_draw_of_one() -> None:
    pmf = np.array([0.2, 0.5, 0.3])
    for u in (0.1, 0.4, 0.9):
        chosen, conditionals = draw_without_replacement(pmf, [u, 0.5])
        assert chosen[0] == draw(pmf, u)
        assert conditionals[0] == pytest.approx(pmf[chosen[0]])
        assert pmf.tolist() == [0.2, 0.5, 0.3]


def test_all_of_them_end_with_certainty() -> None:
    chosen, conditionals = draw_without_replacement(
        np.array([0.5, 0.0, 0.25, 0.25]), [0.9, 0.9, 0.9]
    )
    assert sorted(chosen) == [0, 2, 3]
    assert conditionals[-1] == 1.0


def test_more_draws_than_possible_actions_are_refused() -> None:
    with pytest.raises(ValueError, match="3 draws from 2 possible"):
        draw_without_replacement(np.array([0.5, 0.0, 0.5]), [0.1, 0.1, 0.1])
