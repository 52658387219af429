"""What becomes of a pmf when slots are drawn from it one after another, each from what those before left.

Plackett (1975), "The Analysis of Permutations"; it is how `policies.sampler.draw_without_replacement` draws, so rankd's slates are
of this law, and any policy that is asked for one pmf has it, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Most prefixes that marginals are summed over: 800 kB and about a millisecond a row. 10 actions in 5 slots, 316 in 2.
MOST_PREFIXES = 100_000


def conditionals(pmf: NDArray[np.float64], slate: Sequence[int]) -> NDArray[np.float64]:
    """The probability of each slot's action given those in the slots before it, [L].

    NaN where nothing that has a probability is left: what comes then is not drawn.

    Args:
        pmf: over all K actions.
        slate: L of them, none twice.

    >>> conditionals(np.array([0.5, 0.3, 0.2]), [0, 2]).tolist()
    [0.5, 0.4]
    """
    left = pmf.astype(np.float64)
    found = np.full(len(slate), np.nan)
    for slot, action in enumerate(slate):
        mass = float(left.sum())
        if mass <= 0:
            break
        found[slot] = min(1.0, float(left[action]) / mass)
        left[action] = 0.0
    return found


def countable(actions: int, slots: int) -> bool:
    """Whether marginals can be had: there are not too many slates."""
    prefixes: int = actions**slots
    return prefixes <= MOST_PREFIXES


def law(pmf: NDArray[np.float64], slots: int) -> NDArray[np.float64]:
    """The probability of every slate, [K, ..., K] with an axis for each slot.

    Args:
        pmf: over all K actions, at least `slots` of which have a probability.
        slots: L.

    >>> law(np.array([0.5, 0.3, 0.2]), 2).round(3).tolist()
    [[0.0, 0.3, 0.2], [0.214, 0.0, 0.086], [0.125, 0.075, 0.0]]

    Raises:
        ValueError: there are more than 100,000 slates (see `countable`), or too few actions have a probability.
    """
    count = len(pmf)
    if not countable(count, slots):
        raise ValueError(
            f"{count} actions in {slots} slots: more slates than can be summed over ({MOST_PREFIXES:,})"
        )
    if np.count_nonzero(pmf) < slots:
        raise ValueError(f"{np.count_nonzero(pmf)} actions have a probability, for {slots} slots")
    alone = np.eye(count, dtype=np.bool_)
    prefix = pmf.astype(np.float64)  # of each beginning of a slate
    left = 1.0 - prefix  # what it leaves of the pmf
    taken = alone  # whether it has the last index already
    for _ in range(1, slots):
        # A beginning after which nothing is left has no probability: the check above.
        share = np.divide(prefix, left, out=np.zeros_like(prefix), where=left > 0)
        prefix = np.where(taken, 0.0, share[..., np.newaxis] * pmf)
        left = left[..., np.newaxis] - pmf
        taken = taken[..., np.newaxis, :] | alone
    return prefix


def marginals(pmf: NDArray[np.float64], slots: int) -> NDArray[np.float64]:
    """The probability that a slot holds an action, whatever is above it, [L, K]: a sum over all slates, exact but for rounding.

    Args, raises: as `law`.

    >>> marginals(np.array([0.5, 0.3, 0.2]), 2).round(4).tolist()  # .3 * .5 / .7 + .2 * .5 / .8 = .3393
    [[0.5, 0.3, 0.2], [0.3393, 0.375, 0.2857]]
    """
    every = law(pmf, slots)
    return np.array([_over(every, slot) for slot in range(slots)])


def pairs(pmf: NDArray[np.float64], slots: int) -> NDArray[np.float64]:
    """How often a slate has both of two (slot, action) pairs, [L K, L K]: E[1_s 1_s'], slot by slot.

    Args, raises: as `law`.

    >>> pairs(np.array([0.75, 0.25]), 2).tolist()  # first one, then the other
    [[0.75, 0.0, 0.0, 0.75], [0.0, 0.25, 0.25, 0.0], [0.0, 0.25, 0.25, 0.0], [0.75, 0.0, 0.0, 0.75]]
    """
    every = law(pmf, slots)
    blocks = [
        [
            np.diag(_over(every, one)) if one == two else _over(every, one, two)
            for two in range(slots)
        ]
        for one in range(slots)
    ]
    return np.block(blocks)


def _over(every: NDArray[np.float64], *kept: int) -> NDArray[np.float64]:
    """The sum over all slots but those, which come in the order asked for."""
    others = tuple(axis for axis in range(every.ndim) if axis not in kept)
    summed: NDArray[np.float64] = every.sum(axis=others)
    return summed if list(kept) == sorted(kept) else summed.T
