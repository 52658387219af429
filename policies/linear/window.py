"""The last interactions, for policies that learn from no others (Cheung, Simchi-Levi & Zhu 2019, "Learning to Optimize under
Non-Stationarity", SW-UCB)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from policies.types import ActionSet, Features

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray


class Lesson(NamedTuple):
    """One action, its context and its reward."""

    context: Features
    actions: ActionSet  # of one action
    reward: float


class Window:
    """The lessons that count, oldest first, at most `size`.

    State: 40 bytes for each, and 16 for each of its features.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lessons: deque[Lesson] = deque()
        # How many have been taken out of a regression since it was last built from none but these lessons.
        self.removed = 0

    def __iter__(self) -> Iterator[Lesson]:
        return iter(self._lessons)

    def add(self, context: Features, actions: ActionSet, k: int, reward: float) -> Lesson | None:
        """Takes in a lesson; returns the one that no longer counts, if there is one."""
        own = _kept(actions.of(k) if len(actions.features) else actions.features)
        one = ActionSet((actions.ids[k],), np.array([0, len(own)], np.intp), own)
        self._lessons.append(Lesson(_kept(context), one, reward))
        if len(self._lessons) <= self._size:
            return None
        self.removed += 1
        return self._lessons.popleft()

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays, for `pack`."""
        ids = sorted({lesson.actions.ids[0] for lesson in self})
        place = {action: i for i, action in enumerate(ids)}
        parts = [part for lesson in self for part in (lesson.context, lesson.actions.features)]
        return {"window_ids": ids, "removed": self.removed}, {
            "window_action": np.array([place[lesson.actions.ids[0]] for lesson in self], np.int64),
            "window_reward": np.array([lesson.reward for lesson in self], np.float64),
            "window_sizes": np.array([len(part) for part in parts], np.int64),
            "window_index": np.concatenate([_NOTHING.index, *(part.index for part in parts)]),
            "window_value": np.concatenate([_NOTHING.value, *(part.value for part in parts)]),
        }

    def load(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes on what `dump` gave.

        Raises:
            KeyError, TypeError, ValueError: it did not.
        """
        ids, self.removed = header["window_ids"], header["removed"]
        names = ("action", "reward", "sizes", "index", "value")
        action, reward, sizes, index, value = found = [arrays[f"window_{name}"] for name in names]
        if [array.dtype.str for array in found] != ["<i8", "<f8", "<i8", "<u8", "<f8"]:
            raise TypeError("the window's arrays are of other types")
        if not (isinstance(self.removed, int) and 0 <= self.removed < self._size):
            raise ValueError(f"{self.removed} lessons removed from a window of {self._size}")
        if ids != sorted(set(ids)) or set(action.tolist()) != set(range(len(ids))):
            raise ValueError("the window is not one of these actions")
        count = len(action)
        if count > self._size or len(reward) != count or len(sizes) != 2 * count:
            raise ValueError("not every lesson is whole, or there are too many")
        if (sizes < 0).any() or not len(index) == len(value) == sizes.sum():
            raise ValueError("not every feature of the window has an index and a value")
        if not (np.isfinite(reward).all() and np.isfinite(value).all()):
            raise ValueError("a number of the window is not finite")
        at = 0
        parts = []
        for size in sizes.tolist():
            parts.append(_features(index[at : at + size].copy(), value[at : at + size].copy()))
            at += size
        for i, (which, earned) in enumerate(zip(action.tolist(), reward.tolist(), strict=True)):
            context, own = parts[2 * i : 2 * i + 2]
            one = ActionSet((ids[which],), np.array([0, len(own)], np.intp), own)
            self._lessons.append(Lesson(context, one, earned))


def _kept(features: Features) -> Features:
    """The same features in arrays of their own, as theirs may be a small part of large ones. Layouts are shared."""
    index = features.index
    alone = index.base is None and not index.flags.writeable
    return _features(index if alone else index.copy(), features.value.copy())


def _features(index: NDArray[np.uint64], value: NDArray[np.float64]) -> Features:
    """Of which nothing is kept that no linear model needs."""
    nothing = np.broadcast_to(np.uint8(0), len(index))
    return Features(index, value, nothing, np.broadcast_to(np.bool_(False), len(index)))


_NOTHING = _features(np.empty(0, np.uint64), np.empty(0))
