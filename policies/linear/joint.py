"""The probability that each of K normal numbers is the greatest, where they are correlated: by counting, as no integral is.

Empirical, from `count` joint draws out of the seed. As an action is then drawn from these very frequencies, they are its
true probabilities, however few the draws: more of them only bring a decision closer to Thompson sampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies.linear.normals import normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What is left of a variance, given the numbers before it, is nothing below this share of it: rounding errors are 1e-16.
_NOTHING = 1e-12
# Elements of draws that are worked on at once, 8 MB.
_CHUNK = 1_000_000


def frequencies(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], seed: int, count: int
) -> NDArray[np.float64]:
    """How often [K] each is the greatest, one more draw being spread over all, so that none has the probability 0.

    Args:
        mean: [K].
        covariance: [K, K], of which only the elements l <= k are read; is overwritten.
        seed: 64 random bits.
        count: draws.

    >>> frequencies(np.array([0.0, 9.0]), np.eye(2), seed=1, count=99).tolist()
    [0.005, 0.995]
    """
    k = len(mean)
    if k == 1:
        return np.ones(1)
    root = cholesky(covariance)
    wins = np.zeros(k)
    size = max(1, _CHUNK // k)
    for start in range(0, count, size):
        some = min(size, count - start)
        wins += np.bincount(draws(mean, root, seed, start, some).argmax(axis=0), minlength=k)
    return (wins + 1.0 / k) / (count + 1.0)


def draws(
    mean: NDArray[np.float64], root: list[NDArray[np.float64]], seed: int, start: int, count: int
) -> NDArray[np.float64]:
    """[K, count] draws, number `start` and those after it; root is that of the covariance."""
    found = np.repeat(mean[:, np.newaxis], count, axis=1)
    numbers = np.arange(start, start + count, dtype=np.uint64) * np.uint64(len(mean))
    for j, column in enumerate(root):
        if len(column):
            found[j:] += column[:, np.newaxis] * normals(seed, numbers + np.uint64(j))
    return found


def cholesky(covariance: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The columns of L, L L' = covariance, each from the diagonal down; empty where nothing is left for it.

    Overwrites the covariance. Each element is worked out in one fixed order, unlike a library's.
    """
    diagonal = covariance.diagonal().copy()
    columns = []
    for j in range(len(covariance)):
        pivot = covariance[j, j]
        if pivot <= _NOTHING * diagonal[j]:
            columns.append(_EMPTY)
            continue
        column = covariance[j:, j] / np.sqrt(pivot)
        covariance[j + 1 :, j + 1 :] -= column[1:, np.newaxis] * column[1:]
        columns.append(column)
    return columns


_EMPTY = np.empty(0)
