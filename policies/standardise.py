"""Online standardisation: each named number becomes (x - mean) / standard deviation, as known so far.

Moments by Welford (1962) with the batch update of Chan, Golub & LeVeque (1983). They are part of the policy's
state and move only in `learn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from policies.policy import PolicyError

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
        raw = features.value[which]
        where, known = self._find(features.index[which])
        z = np.zeros(len(which))
        if len(self._index):
            m2 = self._m2[where]
            use = known & (m2 > 0)
            # Where the scale is not known the division is by 1 and its result is not used.
            scale = np.sqrt(np.where(use, m2, 1.0) / np.where(use, self._count[where], 1.0))
            z = np.where(use, (raw - self._mean[where]) / scale, 0.0)
        if len(self._index) >= CAPACITY:
            z = np.where(known, z, raw)
        value = features.value.copy()
        value[which] = np.minimum(np.maximum(z, -CLIP), CLIP)
        return features.with_value(value)

    def learn(self, interaction: Interaction) -> None:
        """Takes in the numbers of the context and of every action of one interaction."""
        for features in (interaction.context, interaction.actions.features):
            which = np.flatnonzero(features.numeric)
            if len(which):
                self._update(features.index[which], features.value[which])

    def _update(self, index: NDArray[np.uint64], value: NDArray[np.float64]) -> None:
        where, known = self._find(index)
        if not known.all():
            self._track(np.unique(index[~known]))
            where, known = self._find(index)
            where, value = where[known], value[known]
        at, n, mean, m2 = _moments(where, value)
        before, both = self._count[at], self._count[at] + n
        delta = mean - self._mean[at]
        self._mean[at] += delta * (n / both)
        self._m2[at] += m2 + delta * delta * (before * n / both)
        self._count[at] = both

    def _track(self, new: NDArray[np.uint64]) -> None:
        """Makes room for new numbers, lowest index first, up to the capacity."""
        new = new[: CAPACITY - len(self._index)]
        where = np.searchsorted(self._index, new)
        self._index = np.insert(self._index, where, new)
        self._count = np.insert(self._count, where, 0.0)
        self._mean = np.insert(self._mean, where, 0.0)
        self._m2 = np.insert(self._m2, where, 0.0)

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
        """The inverse of `arrays`.

        Raises:
            PolicyError: they are not moments.
        """
        self = cls()
        kinds = {name: array.dtype for name, array in self.arrays().items()}
        if {name: array.dtype for name, array in arrays.items()} != kinds:
            raise PolicyError(f"moments: expected the arrays {kinds}")
        self._index, self._count = arrays["index"], arrays["count"]
        self._mean, self._m2 = arrays["mean"], arrays["m2"]
        if any(array.shape != (len(self._index),) for array in arrays.values()):
            raise PolicyError("moments: arrays of different lengths")
        if not (self._index[1:] > self._index[:-1]).all():
            raise PolicyError("moments: indices out of order")
        numbers = np.concatenate((self._count, self._mean, self._m2))
        if not (np.isfinite(numbers).all() and (self._count >= 1).all() and (self._m2 >= 0).all()):
            raise PolicyError(
                "moments: a number that is not finite, or a count or square too small"
            )
        return self


def _moments(
    where: NDArray[np.intp], value: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(place, count, mean, sum of squared deviations) of the values at each distinct place."""
    # Most often each number comes once: the context's, or an only action's. That is told without sorting arrays.
    if len(set(where.tolist())) == len(where):
        return where, np.ones(len(where)), value, np.zeros(len(where))
    at, first, group = np.unique(where, return_index=True, return_inverse=True)
    n = np.bincount(group).astype(np.float64)
    # Sums of differences from a value of the group: those of equal values are exactly 0, so that a
    # constant never seems to vary by a rounding error.
    one = value[first]
    mean = one + _sums(group, value - one[group], len(at)) / n
    deviation = value - mean[group]
    return at, n, mean, _sums(group, deviation * deviation, len(at))


def _sums(group: NDArray[np.intp], value: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Sum of the values of each group, added up in the order in which they stand."""
    sums = np.zeros(groups)
    np.add.at(sums, group, value)
    return sums
