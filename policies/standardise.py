"""Online standardisation: each named number becomes (x - mean) / standard deviation, as known so far.

Moments by Welford (1962) with the batch update of Chan, Golub & LeVeque (1983). They are part of the policy's
state and move only in `learn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.types import Features, Interaction

# A standardised value is clipped here: 10 standard deviations say "extreme" as loudly as a million would, and
# one outlier then cannot swamp a model.
CLIP = 10.0
# Most numbers that are tracked: 65,536 x 32 bytes = 2 MB at worst. Later ones are clipped but not standardised.
CAPACITY = 65_536


class Standardiser:
    """Running count, mean and sum of squared deviations of every named number."""

    def __init__(self) -> None:
        self._index = np.empty(0, np.uint64)  # [m] sorted
        self._count = np.empty(0)  # [m]
        self._mean = np.empty(0)  # [m]
        self._m2 = np.empty(0)  # [m] sum of squared deviations from the mean

    def transform(self, features: Features) -> Features:
        """The features with standardised numbers; categories and vectors stay as they are.

        A number never learned, or seen with one value only, becomes 0: nothing is known of its scale.
        """
        which = np.flatnonzero(features.numeric)
        if not len(which):
            return features
        value = features.value.copy()
        where, known = self._find(features.index[which])
        z = np.zeros(len(which))
        m2 = self._m2[where] if len(self._index) else z
        use = known & (m2 > 0)
        at = where[use]
        z[use] = (value[which[use]] - self._mean[at]) / np.sqrt(m2[use] / self._count[at])
        if len(self._index) >= CAPACITY:
            z[~known] = value[which[~known]]
        value[which] = np.clip(z, -CLIP, CLIP)
        return features.with_value(value)

    def learn(self, interaction: Interaction) -> None:
        """Takes in the numbers of the context and of every action of one interaction."""
        for features in (interaction.context, interaction.actions.features):
            which = np.flatnonzero(features.numeric)
            if len(which):
                self._update(features.index[which], features.value[which])

    def _update(self, index: NDArray[np.uint64], value: NDArray[np.float64]) -> None:
        new = np.setdiff1d(index, self._index)[: CAPACITY - len(self._index)]
        if len(new):
            order = np.argsort(np.concatenate((self._index, new)), kind="stable")
            zeros = np.zeros(len(new))
            self._index = np.concatenate((self._index, new))[order]
            self._count = np.concatenate((self._count, zeros))[order]
            self._mean = np.concatenate((self._mean, zeros))[order]
            self._m2 = np.concatenate((self._m2, zeros))[order]
        where, known = self._find(index)
        where, value = where[known], value[known]
        at, group = np.unique(where, return_inverse=True)
        n = np.bincount(group).astype(np.float64)
        mean = _sums(group, value, len(at)) / n
        m2 = _sums(group, (value - mean[group]) ** 2, len(at))
        before, both = self._count[at], self._count[at] + n
        delta = mean - self._mean[at]
        self._mean[at] += delta * (n / both)
        self._m2[at] += m2 + delta * delta * (before * n / both)
        self._count[at] = both

    def _find(self, index: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """(position of each index, whether it is tracked)."""
        if not len(self._index):
            return np.zeros(len(index), np.intp), np.zeros(len(index), np.bool_)
        where = np.minimum(np.searchsorted(self._index, index), len(self._index) - 1)
        return where, self._index[where] == index

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, for `pack`."""
        return {
            "index": self._index,
            "count": self._count,
            "mean": self._mean,
            "m2": self._m2,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """The inverse of `arrays`."""
        self = cls()
        self._index = arrays["index"]
        self._count = arrays["count"]
        self._mean = arrays["mean"]
        self._m2 = arrays["m2"]
        return self


def _sums(group: NDArray[np.intp], value: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Sum of the values of each group, added up in the order in which they stand."""
    sums = np.zeros(groups)
    np.add.at(sums, group, value)
    return sums
