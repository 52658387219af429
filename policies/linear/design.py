"""What a regression sees of an event: rows x of features, sorted by index, the bias first.

Which features an event has, and in which order they come, is worked out once for all events that are alike in this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.features import action_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.alike import Alike
    from policies.types import ActionSet, Features

BIAS = 0  # the index of the feature that is always 1: lowest, so that it has the first column
_PAD = 2**64 - 1  # fills up short rows, always with the value 0
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: spreads the index of a product
_CONSTANTS = np.array([1.0, 0.0])  # the first two of all values: of the bias, and of what fills up
_ONE, _ZERO = 0, 1  # their places

# Elements and actions of the rows that are remembered, and how many kinds of events: 42 bytes an element, 100 an action
# with its id, 3 kB an event = 112 MB if clients fill it on purpose.
_SEEN_ELEMENTS, _SEEN_EVENTS = 1_000_000, 4_096


@dataclass(slots=True, eq=False)
class Rows:
    """The rows of one kind of event: [r, n], where r = K, or 1 if all actions have the same."""

    index: NDArray[np.uint64]  # [r, n] sorted
    left: NDArray[np.intp]  # [r, n] where each value is among all values
    right: NDArray[np.intp] | None  # [r, n] by which value it is multiplied, if any are products
    common: NDArray[np.bool_]  # [r, n] whether it is the same for all actions
    made_of: tuple[object, ...] = ()  # the arrays whose ids are in its key: they live as long
    plan: Any = None  # what `Ridges` remembers of it

    def values(self, context: Features, features: Features) -> NDArray[np.float64]:
        """x [r, n] of such an event, whose actions' features these are."""
        parts = (_CONSTANTS, context.value, features.value)
        return self._of(np.concatenate(parts if len(features) else parts[:2]))

    def values_alike(self, events: Alike) -> NDArray[np.float64]:
        """x [N, r, n] of N such events."""
        constants = np.broadcast_to(_CONSTANTS, (len(events), len(_CONSTANTS)))
        parts = (constants, events.context_values, events.action_values)
        return self._of(np.concatenate(parts, axis=1))

    def _of(self, source: NDArray[np.float64]) -> NDArray[np.float64]:
        """x [..., r, n] of all values [..., m], one after the other."""
        x: NDArray[np.float64] = source.take(self.left, axis=-1)
        if self.right is not None:
            x *= source.take(self.right, axis=-1)
        return x


class Design:
    """Makes rows: of bias, context and action and, if asked for, the action's id and the products of context and action.

    Args:
        shared: for a regression that actions share, so that each has a row of its own even if it has no features.
        ids: whether the action's id is a feature.
        interactions: whether the product of each context feature with each action feature is one.
    """

    def __init__(self, *, shared: bool, ids: bool, interactions: bool) -> None:
        self._shared = shared
        self._ids = ids
        self._interactions = interactions
        self._seen: dict[tuple[object, ...], Rows] = {}
        self._elements = 0

    def rows(self, context: Features, actions: ActionSet) -> Rows:
        """The rows of all K actions."""
        return self._found((actions.ids,), context, actions, None)

    def row(self, context: Features, actions: ActionSet, k: int) -> Rows:
        """The row of action k, whose values are to be taken from the features of that action."""
        return self._found((k, actions.ids[k]), context, actions, k)

    def _found(
        self, ids: tuple[object, ...], context: Features, actions: ActionSet, k: int | None
    ) -> Rows:
        made_of: tuple[NDArray[Any], ...] = (context.index, actions.features.index)
        if len(actions.features):
            made_of += (actions.start,)
        key = (*ids, *map(id, made_of))
        rows = self._seen.get(key)
        if rows is None:
            rows = self._made(context, actions if k is None else actions.only(k))
            # Arrays that nobody changes come again and again.
            if not any(len(array) and array.flags.writeable for array in made_of):
                rows.made_of = made_of
                self._keep(key, rows, len(actions) if k is None else 1)
        return rows

    def _keep(self, key: tuple[object, ...], rows: Rows, actions: int) -> None:
        size = rows.index.size + actions
        self._elements += size
        if self._elements > _SEEN_ELEMENTS or len(self._seen) >= _SEEN_EVENTS:
            self._seen.clear()
            self._elements = size
        if self._elements <= _SEEN_ELEMENTS:
            self._seen[key] = rows

    def _made(self, context: Features, actions: ActionSet) -> Rows:
        n = len(context)
        index = np.concatenate((np.array([BIAS], np.uint64), context.index))
        left = np.concatenate((np.array([_ONE]), np.arange(n) + len(_CONSTANTS)))
        if not self._shared and not len(actions.features):
            order = np.argsort(index)
            ordered = left[order][np.newaxis]
            return Rows(index[order][np.newaxis], ordered, None, np.ones(ordered.shape, np.bool_))
        count = len(actions)
        own_index, own_left = _padded(actions, len(_CONSTANTS) + n)
        indices = [np.broadcast_to(index, (count, n + 1)), own_index]
        lefts = [np.broadcast_to(left, (count, n + 1)), own_left]
        right = None
        if self._ids:
            indices.append(np.array([[action_index(a)] for a in actions.ids], np.uint64))
            lefts.append(np.full((count, 1), _ONE))
        if self._interactions:
            before = sum(part.shape[1] for part in lefts)
            products = own_index[:, :, np.newaxis] + context.index * _GOLDEN
            indices.append(products.reshape(count, -1))
            lefts.append(np.repeat(own_left, n, axis=1))
            times = np.tile(left[1:], own_left.shape[1])
            right = np.concatenate((np.full(before, _ONE), times))
        index, left = np.concatenate(indices, axis=1), np.concatenate(lefts, axis=1)
        order = np.argsort(index, axis=1)
        return Rows(
            np.take_along_axis(index, order, axis=1),
            np.take_along_axis(left, order, axis=1),
            None if right is None else right[order],
            order <= n,
        )


def _padded(actions: ActionSet, begin: int) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """(index, place of the value) of the actions' features, each [K, n], shorter rows filled up.

    Args:
        begin: place of the first of their values.
    """
    counts = np.diff(actions.start)
    row = np.repeat(np.arange(len(actions)), counts)
    column = np.arange(len(row)) - np.repeat(actions.start[:-1], counts)
    index = np.full((len(actions), int(counts.max())), _PAD, np.uint64)
    place = np.full(index.shape, _ZERO)
    index[row, column], place[row, column] = actions.features.index, begin + np.arange(len(row))
    return index, place
