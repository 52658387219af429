"""Drawing from a pmf with random numbers that anybody can recompute from the log.

u = the top 53 bits of BLAKE2b(app salt, purpose, slot, event_id) / 2^53. Each purpose has bits of its own, so that what
is drawn for one never tells anything about another.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


# Beginnings of hashes that are kept, 400 bytes each.
_BEGUN = 1_024


class Purpose(IntEnum):
    """What random bits are for. Numbers are for ever: a new purpose gets a new one."""

    DRAW = 1  # the action of a slot
    POLICY = 2  # the seed that a policy's own pmf may depend on
    EXPERIMENT = 3  # the bucket of an experiment


def seed(salt: bytes, purpose: Purpose, slot: int, event_id: str) -> int:
    """64 random bits of this event for this purpose.

    Args:
        salt: the app's secret, at most 64 bytes: without it nobody who chooses event ids can choose draws.
    """
    digest = _begun(salt, int(purpose), slot).copy()
    digest.update(event_id.encode())
    return int.from_bytes(digest.digest(), "big")


@lru_cache(_BEGUN)
def _begun(salt: bytes, purpose: int, slot: int) -> blake2b:
    """What all events have in common: taking in the key costs as much as all else."""
    digest = blake2b(digest_size=8, key=salt, person=b"rankd.draw")
    digest.update(purpose.to_bytes(4, "big") + slot.to_bytes(4, "big"))
    return digest


def uniform(salt: bytes, purpose: Purpose, slot: int, event_id: str) -> float:
    """A uniform number in [0, 1) with 53 random bits.

    >>> 0 <= uniform(b"salt", Purpose.DRAW, 0, "event-1") < 1
    True
    """
    return (seed(salt, purpose, slot, event_id) >> 11) / 2**53


def draw(pmf: NDArray[np.float64], u: float) -> int:
    """The index that u in [0, 1) falls on; an index of probability 0 is never drawn.

    >>> [draw(np.array([0.0, 0.25, 0.75]), u) for u in (0.0, 0.2, 0.25, 0.99)]
    [1, 1, 2, 2]
    """
    return _fallen_on(pmf, np.add.accumulate(pmf), u)


def draw_alike(
    pmf: NDArray[np.float64], us: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(the index that each of us [N] falls on in its row of the pmfs [N, K], its probability), each [N].

    >>> index, probability = draw_alike(np.array([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]]), np.array([0.2, 0.99]))
    >>> index.tolist(), probability.tolist()
    ([1, 0], [0.25, 1.0])
    """
    cdf = np.add.accumulate(pmf, axis=1)
    mass = cdf[:, -1]
    # How many sums are not above u's: the place of the first one that is.
    index: NDArray[np.intp] = np.add.reduce(cdf <= (us * mass)[:, np.newaxis], axis=1)
    for n in np.flatnonzero(index == pmf.shape[1]):  # u times the sum may be rounded up to the sum
        index[n] = np.flatnonzero(pmf[n])[-1]
    return index, np.minimum(1.0, pmf[np.arange(len(pmf)), index] / mass)


def draw_without_replacement(
    pmf: NDArray[np.float64], us: list[float]
) -> tuple[list[int], list[float]]:
    """Sequential draws, each from what the ones before left of the pmf (Plackett-Luce; Plackett 1975).

    Returns:
        The index drawn for each u, and the probability that it had given the ones before.

    Raises:
        ValueError: more draws than indices of probability above 0.
    """
    possible = np.count_nonzero(pmf)
    if len(us) > possible:
        raise ValueError(f"{len(us)} draws from {possible} possible actions")
    left = pmf
    chosen: list[int] = []
    probabilities: list[float] = []
    for u in us:
        if chosen:
            left = left.copy() if left is pmf else left
            left[chosen[-1]] = 0.0
        cdf = np.add.accumulate(left)
        k = _fallen_on(left, cdf, u)
        chosen.append(k)
        probabilities.append(min(1.0, float(left[k] / cdf[-1])))
    return chosen, probabilities


def _fallen_on(pmf: NDArray[np.float64], cdf: NDArray[np.float64], u: float) -> int:
    k = int(cdf.searchsorted(u * cdf[-1], side="right"))  # the first whose sum is above u's
    # u times the sum may be rounded up to the sum.
    return k if k < len(pmf) else int(np.flatnonzero(pmf)[-1])
