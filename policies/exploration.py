"""From scores to a pmf: greedy, epsilon, SquareCB, and the floor that every policy gets.

Sums run over actions in the order of their ids, so the order of a request changes no bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies.sums import total

if TYPE_CHECKING:
    from numpy.typing import NDArray


def greedy(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """All probability on the best of the scores [..., K], shared equally where several tie.

    >>> greedy(np.array([1.0, 3.0, 3.0]))
    array([0. , 0.5, 0.5])
    """
    best = scores == np.maximum.reduce(scores, axis=-1, keepdims=True)  # as max(), a shorter way
    pmf: NDArray[np.float64] = best / np.add.reduce(best, axis=-1, keepdims=True)
    return pmf


def epsilon(scores: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Greedy, but for a share in [0, 1] that is spread over all actions."""
    return with_floor(greedy(scores), share)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities proportional to exp(score).

    >>> softmax(np.array([1e6, 1e6]))
    array([0.5, 0.5])
    """
    powers = np.exp(scores - scores.max())
    pmf: NDArray[np.float64] = powers / total(powers)
    return pmf


def squarecb(scores: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
    """Inverse gap weighting (Foster & Rakhlin 2020, "Beyond UCB", algorithm 1), with mu = K.

    p_a = 1 / (K + gamma * (best - score_a)) for all but the best action, which gets the rest.

    >>> squarecb(np.array([1.0, 0.0]), gamma=2.0)
    array([0.75, 0.25])
    """
    best = int(np.argmax(scores))
    pmf: NDArray[np.float64] = 1.0 / (len(scores) + gamma * (scores[best] - scores))
    pmf[best] = 0.0
    # Where several tie for the best, each has 1/K: the rest then is 1/K too, up to rounding.
    pmf[best] = max(0.0, 1.0 - total(pmf))
    ties = scores == scores[best]
    pmf[ties] = total(pmf[ties]) / np.count_nonzero(ties)
    return pmf


def with_floor(pmf: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Mixes a uniform share into a pmf [..., K] over K actions: each then has at least share / K.

    >>> with_floor(np.array([1.0, 0.0]), 0.1)
    array([0.95, 0.05])
    """
    mixed: NDArray[np.float64] = (1.0 - share) * pmf + share / pmf.shape[-1]
    return mixed
