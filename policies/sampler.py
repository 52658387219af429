"""Drawing from a pmf with random numbers that anybody can recompute from the log.

u = the top 53 bits of BLAKE2b(app salt, purpose, slot, event_id) / 2^53. Each purpose has bits of its own, so that what
is drawn for one never tells anything about another.
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    digest = blake2b(digest_size=8, key=salt, person=b"rankd.draw")
    digest.update(int(purpose).to_bytes(4, "big") + slot.to_bytes(4, "big") + event_id.encode())
    return int.from_bytes(digest.digest(), "big")


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
    cdf = np.add.accumulate(pmf)
    k = int(np.searchsorted(cdf, u * cdf[-1], side="right"))
    return min(k, int(np.flatnonzero(pmf)[-1]))


def draw_without_replacement(
    pmf: NDArray[np.float64], us: list[float]
) -> tuple[list[int], list[float]]:
    """Sequential draws, each from what the ones before left of the pmf (Plackett-Luce; Plackett 1975).

    Returns:
        The index drawn for each u, and the probability that it had given the ones before.

    Raises:
        ValueError: more draws than indices of probability above 0.
    """
    if len(us) > np.count_nonzero(pmf):
        raise ValueError(f"{len(us)} draws from {np.count_nonzero(pmf)} possible actions")
    left = pmf.copy()
    chosen, probabilities = [], []
    for u in us:
        k = draw(left, u)
        chosen.append(k)
        probabilities.append(min(1.0, float(left[k] / np.add.accumulate(left)[-1])))
        left[k] = 0.0
    return chosen, probabilities
