"""Standard normal numbers from a seed, each by a counter of its own, so that any of them can be had without the others.

SplitMix64 (Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators") turns seed + counter into 64 random
bits, and the inverse of the normal distribution function turns their upper 52 into a number. numpy's generators cost more
to set up than twenty numbers take here, and promise no bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GAMMA, _MIX1, _MIX2 = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_30, _27, _31, _12 = map(np.uint64, (30, 27, 31, 12))


def random_bits(seed: NDArray[np.uint64] | int, counter: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 random bits for each counter, as SplitMix64 from this seed (or these) gives after so many numbers.

    >>> random_bits(0, np.array([0], np.uint64)).item() == 0xE220A8397B1DCDAF
    True
    """
    z = (counter + np.uint64(1)) * _GAMMA + np.asarray(seed, np.uint64)
    z = (z ^ (z >> _30)) * _MIX1
    z = (z ^ (z >> _27)) * _MIX2
    return z ^ (z >> _31)


def normals(seed: NDArray[np.uint64] | int, counter: NDArray[np.uint64]) -> NDArray[np.float64]:
    """A standard normal number for each counter, between -8.3 and 8.3.

    >>> normals(1, np.arange(2, dtype=np.uint64)).round(3).tolist()
    [0.168, 0.661]
    """
    # In the middle of 2^52 equal parts of (0, 1): 53 bits and a half would round to 1.
    uniform = ((random_bits(seed, counter) >> _12) + 0.5) * 2.0**-52
    found: NDArray[np.float64] = ndtri(uniform)
    return found
