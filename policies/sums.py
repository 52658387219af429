"""Sums whose order is fixed, so that their bits are: numpy's own sum() adds in pairs, in an order that its version may change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def total(terms: NDArray[np.float64]) -> float:
    """The sum from left to right, 0 of none."""
    return float(np.add.accumulate(terms)[-1]) if len(terms) else 0.0


def totals(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums [..., 1] of n >= 1 terms along the last axis, each from left to right."""
    return np.add.accumulate(terms, axis=-1)[..., -1:]


def sums(row: NDArray[np.intp], terms: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """The sum [rows] of each row's terms, from left to right, whatever other rows there are.

    That is how bincount adds. reduceat, and sum() of an array with one column, add in pairs.

    >>> sums(np.array([0, 1, 0]), np.array([1.0, 2.0, 3.0]), 2)
    array([4., 2.])
    """
    found = np.bincount(row, weights=terms, minlength=rows)
    return found.astype(np.float64, copy=False)  # of no terms at all bincount makes integers
