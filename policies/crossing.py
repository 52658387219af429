"""The index of a product of two features, made of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Crossing = Literal["action_id", "action_features", "both", "none"]


def product_index(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The index of the product of each of `other` [m] with each of `one` [n], as [m, n].

    The finalizer of SplitMix64 (Steele, Lea & Flood 2014) on a sum in which one side is spread out first.
    """
    return mixed(one + other[:, np.newaxis] * np.uint64(0x9E3779B97F4A7C15))


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer alone: each bit of the result depends on every bit of x, and no two x give the same."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return out
