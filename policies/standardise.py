"""Online standardisation: each named number becomes (x - mean) / standard deviation, as known so far.

Moments by Welford (1962) with the batch update of Chan, Golub & LeVeque (1983). They are part of the policy's
state and move only in `learn`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from policies.alike import Alike
from policies.compiled import compiled
from policies.policy import PolicyError
from policies.types import ActionSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from policies.types import Features, Interaction

    Kernel = Callable[..., None]

# A standardised value is clipped here: 10 standard deviations say "extreme" as loudly as a million would, and
# one outlier then cannot swamp a model.
CLIP = 10.0
# Most numbers that are tracked: 65,536 x 32 bytes = 2 MB at worst. Later ones are clipped but not standardised.
CAPACITY = 65_536


_SIGNATURE = "void(i8[::1], i8[::1], f8[::1], f8[::1], f8[::1], f8[::1], b1)"

# Layouts whose numbers are remembered: 64 x 26 bytes for each of 16,384 features = 27 MB at worst.
_SEEN = 64


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The named numbers among n features, and where their moments are."""

    index: NDArray[np.uint64]  # [n] of all features
    numeric: NDArray[np.bool_]  # [n]
    which: NDArray[np.intp]  # [m] their places among the features
    where: NDArray[np.intp]  # [m] places of their moments
    known: NDArray[np.bool_]  # [m] whether they have any
    all_known: bool
    once: bool  # whether each that is known comes once only
    simple: bool  # all are known, and each comes once


class Standardiser:
    """Running count, mean and sum of squared deviations of every named number.

    Args:
        kernel: what to use for `follow`, if anything: the same, compiled. It gives the same bits.
    """

    def __init__(self, kernel: Kernel | None = None) -> None:
        self._kernel = kernel
        self._index = np.empty(0, np.uint64)  # [m] sorted
        self._count = np.empty(0)  # [m]
        self._mean = np.empty(0)  # [m]
        self._m2 = np.empty(0)  # [m] sum of squared deviations from the mean
        self._seen: dict[int, _Numbers] = {}  # by id of an array that nobody changes

    def transform(self, features: Features) -> Features:
        """The features with standardised numbers; categories and vectors stay as they are.

        A number never learned, or seen with one value only, becomes 0: nothing is known of its scale.
        """
        if not len(features):
            return features
        numbers = self._numbers(features)
        if not len(numbers.which):
            return features
        if self._kernel is not None and numbers.simple:
            return features.with_value(self._followed(self._kernel, numbers, features.value, False))
        return features.with_value(self._transformed(numbers, features.value))

    def transform_alike(self, events: Alike) -> Alike:
        """`transform` of events that are alike, to the same bits."""
        context, actions = self._numbers(events.context), self._numbers(events.actions.features)
        return Alike(
            events.context,
            events.actions,
            self._transformed(context, events.context_values),
            self._transformed(actions, events.action_values),
        )

    def _transformed(self, numbers: _Numbers, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values [..., n] of such features with standardised numbers."""
        if not len(numbers.which):
            return value
        raw = value[..., numbers.which]
        z = np.minimum(np.maximum(self._standardised(numbers, raw), -CLIP), CLIP)
        if z.shape == value.shape:
            return z
        value = value.copy()
        value[..., numbers.which] = z
        return value

    def _standardised(self, numbers: _Numbers, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(self._index):
            return np.zeros(raw.shape)
        where, known = numbers.where, numbers.known
        mean = self._mean[where]
        # It can be 0 where the sum of squares is not: 5e-324 / 3 is. Then nothing is known of the scale, either.
        variance = self._m2[where] / self._count[where]
        if numbers.all_known and np.minimum.reduce(variance) > 0:
            return (raw - mean) / np.sqrt(variance)
        use = known & (variance > 0)
        # Where the scale is not known the division is by 1 and its result is not used.
        scale = np.sqrt(np.where(use, variance, 1.0))
        z = np.where(use, (raw - mean) / scale, 0.0)
        return np.where(known, z, raw) if len(self._index) >= CAPACITY else z

    def take(self, interaction: Interaction) -> tuple[Features, ActionSet]:
        """Learns from an interaction, then transforms its context and its actions."""
        context, actions = interaction.context, interaction.actions
        if self._kernel is not None and not len(actions.features) and len(context):
            numbers = self._numbers(context)
            if numbers.simple:  # at one go
                if not len(numbers.which):
                    return context, actions
                value = self._followed(self._kernel, numbers, context.value, True)
                return context.with_value(value), actions
        self.learn(interaction)
        features = self.transform(actions.features)
        if features is not actions.features:
            actions = ActionSet(actions.ids, actions.start, features)
        return self.transform(context), actions

    def learn(self, interaction: Interaction) -> None:
        """Takes in the numbers of the context and of every action of one interaction."""
        for features in (interaction.context, interaction.actions.features):
            if not len(features):
                continue
            numbers = self._numbers(features)
            if not numbers.all_known:
                self._track(np.unique(features.index[numbers.which][~numbers.known]))
                numbers = self._numbers(features)
            if len(numbers.which):
                self._update(numbers, features.value[numbers.which])

    def _followed(
        self, kernel: Kernel, numbers: _Numbers, value: NDArray[np.float64], learn: bool
    ) -> NDArray[np.float64]:
        """The values with standardised numbers."""
        z = value.copy()
        kernel(numbers.which, numbers.where, self._count, self._mean, self._m2, z, learn)
        return z

    def _update(self, numbers: _Numbers, value: NDArray[np.float64]) -> None:
        where = numbers.where
        if not numbers.all_known:  # there was no room for all
            where, value = where[numbers.known], value[numbers.known]
        if numbers.once:
            self._add(where, 1.0, value, 0.0)
        else:
            self._add(*_moments(where, value))

    def _add(
        self,
        at: NDArray[np.intp],
        n: NDArray[np.float64] | float,
        mean: NDArray[np.float64],
        m2: NDArray[np.float64] | float,
    ) -> None:
        """Takes in count, mean and sum of squared deviations of new values at each of these distinct places."""
        before, own = self._count[at], self._mean[at]
        both = before + n
        delta = mean - own
        self._mean[at] = own + delta * (n / both)
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
        self._seen.clear()

    def _numbers(self, features: Features) -> _Numbers:
        """The features' named numbers. A layout's arrays come again and again: it is looked up once."""
        index = features.index
        numbers = self._seen.get(id(index))
        if numbers is not None and numbers.index is index and numbers.numeric is features.numeric:
            return numbers
        which = np.flatnonzero(features.numeric)
        where, known = self._find(index[which])
        found = where[known]
        once = len(set(found.tolist())) == len(found)
        every = bool(known.all())
        numbers = _Numbers(
            index, features.numeric, which, where, known, every, once, every and once
        )
        if not index.flags.writeable:
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen[id(index)] = numbers
        return numbers

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
    def from_arrays(cls, arrays: dict[str, NDArray[Any]], kernel: Kernel | None = None) -> Self:
        """The inverse of `arrays`.

        Raises:
            PolicyError: they are not moments.
        """
        self = cls(kernel)
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


def follow(which: Any, where: Any, count: Any, mean: Any, m2: Any, value: Any, learn: Any) -> None:
    """Standardises the numbers at `which` of all values, in place; their moments are at `where`, each once. First they are
    taken in, if `learn`. What `Standardiser` does in numpy, term by term, for numba to compile."""
    for i in range(which.shape[0]):
        k, w = which[i], where[i]
        raw, before, own = value[k], count[w], mean[w]
        if learn:
            both = before + 1.0
            delta = raw - own
            own += delta * (1.0 / both)
            mean[w] = own
            m2[w] += delta * delta * (before / both)
            count[w] = before = both
        variance = m2[w] / before
        z = (raw - own) / np.sqrt(variance) if variance > 0.0 else 0.0
        value[k] = CLIP if z > CLIP else max(z, -CLIP)


@cache
def kernel() -> Kernel | None:
    """`follow`, compiled; None without numba."""
    made = compiled({"follow": (_SIGNATURE, follow)})
    return None if made is None else made["follow"]


def _moments(
    where: NDArray[np.intp], value: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(place, count, mean, sum of squared deviations) of the values at each distinct place."""
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
