"""The compiled inner loops against those in numpy, bit by bit, and both against the formulas."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from policies.linear import kernels

RNG = np.random.default_rng(7)
BOTH = [kernels.kernels(), kernels.NUMPY]


def test_numba_is_installed_here() -> None:
    """Or all below would compare numpy with itself."""
    assert BOTH[0] is not kernels.NUMPY


def problem(seed: int) -> dict[str, Any]:
    """g of b regressions of d columns, each given one row of n features, or a row of its own."""
    rng = np.random.default_rng(seed)
    d, b, g = (int(rng.integers(1, most)) for most in (70, 6, 12))
    n = d if seed % 3 == 0 else int(rng.integers(1, d + 1))
    r = 1 if seed % 2 else g
    root = rng.normal(size=(b, d, d))
    at = [np.sort(rng.choice(d, n, replace=False)) for _ in range(r)]
    return {
        "inverse": np.array([m @ m.T for m in root]),
        "theta": rng.normal(size=(b, d)),
        "which": rng.integers(0, b, g),
        "members": rng.permutation(g + 3)[:g],
        "at": np.array(at),
        "known": rng.random((r, n)) < (1.0 if seed % 5 == 0 else 0.8),
        "x": rng.normal(size=(r, n)) * 10.0 ** rng.integers(-3, 4, (r, n)),
    }


@pytest.mark.parametrize("seed", range(60))
def test_predictions_are_the_same_bits(seed: int) -> None:
    """Of several events together as of each alone."""
    p, answers = problem(seed), []
    events = np.stack([p["x"], p["x"][::-1] * 1.5, p["x"] * 0.3])
    for chosen in BOTH:
        for parts in ([events], [events[:2], events[2:]], [events[:1], events[1:2], events[2:]]):
            found = []
            for x in parts:
                mean, variance = np.zeros((2, len(x), len(p["members"]) + 3))
                chosen.predict(*{**p, "x": x}.values(), 0.5, mean, variance)
                found.append((mean, variance))
            answers.append(np.concatenate(found, axis=1))
    assert len({answer.tobytes() for answer in answers}) == 1
    mean, variance = answers[0]
    for e, (i, k) in itertools.product(range(len(events)), enumerate(p["members"])):
        b, r = p["which"][i], i if len(p["x"]) > 1 else 0
        at, known, x = p["at"][r], p["known"][r], events[e, r]
        inside, square = np.where(known, x, 0.0), p["inverse"][b][np.ix_(at, at)]
        assert mean[e, k] == pytest.approx(p["theta"][b][at] @ inside)
        outside = 0.5 * ((x - inside) ** 2).sum()
        assert variance[e, k] == pytest.approx(inside @ square @ inside + outside)


@pytest.mark.parametrize("seed", range(60))
def test_lessons_are_the_same_bits(seed: int) -> None:
    p, answers = problem(seed), []
    for chosen in BOTH:
        inverse, theta = p["inverse"][0].copy(), p["theta"][0].copy()
        for x in p["x"]:
            chosen.learn(inverse, theta, p["at"][0], x, 0.7, 1.0)
        answers.append((inverse, theta))
    assert answers[0][0].tobytes() == answers[1][0].tobytes()
    assert answers[0][1].tobytes() == answers[1][1].tobytes()
    assert inverse.tobytes() == inverse.T.copy().tobytes(), "symmetric to the bit"


@pytest.mark.parametrize("scale", [1.0, 1e7])
def test_bounds_are_the_same_bits(scale: float) -> None:
    answers = []
    for chosen in BOTH:
        x = (
            np.random.default_rng(1).normal(size=(9, 33))
            * scale
            * 10.0 ** np.arange(-4, 5)[:, None]
        )
        chosen.bound(x, 2.0)
        answers.append(x)
    assert answers[0].tobytes() == answers[1].tobytes()
    assert ((answers[0] ** 2).sum(axis=1) * 2.0).max() <= kernels.REACH * (1 + 1e-12)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (2, 2), (9, 9), (9, 40), (33, 33), (300, 301), (5, 20, 20)]
)
def test_numpy_adds_rows_from_the_first_to_the_last(shape: tuple[int, ...]) -> None:
    """And not in pairs, as it does along the axis that is contiguous."""
    terms = RNG.normal(size=shape) * 10.0 ** RNG.integers(-8, 8, shape)
    expected = np.add.accumulate(terms, axis=-2)[..., -1, :]
    assert kernels.sums_of_rows(terms).tobytes() == expected.tobytes()


def test_without_numba_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "COMPILED", False)
    assert kernels.kernels() is kernels.NUMPY
