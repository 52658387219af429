"""The last n interactions as a matrix, and how far each of them is from a question.

Every sum has one fixed order: distances add up column by column, one row of the matrix after the other, kernel weights
interaction by interaction. Only + - * / touch a number, so the bits are the same whatever the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from policies.types import ActionSet, Features

# Interactions for which there is room at first.
_ROOM = 64
# Values are kept as float32. A distance between two of them must stay finite: 4,096 columns x (2 x 1e15)^2 = 2e34.
_GREATEST = 1e15


class Memory:
    """A ring of at most `limit` interactions: features, action and reward of each.

    Columns belong to features in the order in which they came; those that come after the last column is taken are added
    to others by hash, with a sign (Weinberger et al. 2009).
    """

    def __init__(self, limit: int, dimensions: int) -> None:
        self._limit = limit
        self._dimensions = dimensions
        self._column: dict[int, int] = {}  # by feature index
        self._x = np.zeros((0, _ROOM), np.float32)  # [d, room]
        self._reward = np.zeros(_ROOM)  # [room]
        self._slot = np.zeros(_ROOM, np.intp)  # [room] which action
        self._slots: dict[str, int] = {}  # by action id
        self._free: list[int] = []  # slots whose actions are forgotten
        self._uses: list[int] = []  # by slot: how many interactions
        self._ids: list[str] = []  # by slot
        self.learned = 0  # interactions, those forgotten too

    def __len__(self) -> int:
        return min(self.learned, self._limit)

    def add(self, x: Features, action: str, reward: float) -> NDArray[np.float32]:
        """Takes one interaction in, in place of the oldest if there is no room; what it looks like, [d]."""
        for index in x.index.tolist():
            if len(self._column) >= self._dimensions:
                break
            self._column.setdefault(index, len(self._column))
        self._reserve()
        at = self.learned % self._limit
        if self.learned >= self._limit:
            self._forget(int(self._slot[at]))
        row, _ = self._row(x)
        self._x[:, at] = row
        self._reward[at] = reward
        self._slot[at] = self._slot_of(action)
        self.learned += 1
        return row

    def neighbours(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.intp] | slice, NDArray[np.float64]]:
        """(places of m interactions, all that had one of these actions among them, and their squared distances [m]).

        The question of action k is the context and the features of k; the distance is from that of the interaction's
        action. Where that is none of these, it means nothing.
        """
        n = len(self)
        slots = [self._slots[action] for action in actions.ids if action in self._slots]
        # A few actions' own interactions are taken out; most are not worth the copy.
        where: NDArray[np.intp] | slice = slice(0, n)
        if 2 * sum(self._uses[slot] for slot in slots) < n:
            mine = np.zeros(len(self._ids), np.bool_)
            mine[slots] = True
            where = np.flatnonzero(mine[self._slot[:n]])
        if not len(actions.features):
            row, square = self._row(context)
            rows, outside = row[:, np.newaxis], np.array([square])
        else:
            asked = [self._row(context, actions.of(k)) for k in range(len(actions))]
            place = np.zeros(len(self._ids), np.intp)
            for k, action in enumerate(actions.ids):
                if action in self._slots:
                    place[self._slots[action]] = k
            which = place[self._slot[where]]
            rows = np.array([row for row, _ in asked]).T.take(which, axis=1)
            outside = np.array([square for _, square in asked])[which]
        known = self._x[:, where] if isinstance(where, slice) else self._x.take(where, axis=1)
        # numpy adds one column after the other only where each lies together in memory, and else in pairs: a score would
        # depend on which other actions are asked about, since x[:, places] lies the other way round.
        difference = np.subtract(known, rows, order="C")
        difference *= difference
        if difference.shape[1] > 1:
            squares = np.add.reduce(difference, axis=0)
        else:  # of a single interaction numpy would add them in pairs all the same
            squares = np.zeros(difference.shape[1], np.float32)
            for row in difference:
                squares += row
        return where, squares.astype(np.float64) + outside

    def sums(
        self,
        where: NDArray[np.intp] | slice,
        weight: NDArray[np.float64],
        ids: Sequence[str],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(sum of weights [K], sum of weight times reward [K]) of each of these actions, over m interactions."""
        count = len(self._ids) + 1  # the last one is what no interaction has
        slot = self._slot[where]
        mass, earned = (
            np.bincount(slot, each, count).astype(np.float64)
            for each in (weight, weight * self._reward[where])
        )
        own = np.array([self._slots.get(action, count - 1) for action in ids], np.intp)
        return mass[own], earned[own]

    def _row(self, x: Features, more: Features | None = None) -> tuple[NDArray[np.float32], float]:
        """(values by column [d], sum of squares of the values that have no column)."""
        row = np.zeros(len(self._x), np.float32)
        outside = 0.0
        for features in (x, more) if more is not None else (x,):
            for index, value in zip(features.index.tolist(), features.value.tolist(), strict=True):
                value = min(max(value, -_GREATEST), _GREATEST)
                column = self._column.get(index)
                if column is not None:
                    row[column] += value
                elif len(self._column) >= self._dimensions:
                    row[index % self._dimensions] += value if index >> 63 == 0 else -value
                else:
                    outside += value * value
        return row, outside

    def _reserve(self) -> None:
        """Makes the matrix as large as it has to be."""
        d, room = self._x.shape
        columns = len(self._column)
        more = min(2 * room, max(self._limit, _ROOM)) if len(self) == room else room
        if columns > d or more > room:
            x = np.zeros((columns, more), np.float32)
            x[:d, :room] = self._x
            self._x = x
            self._reward = np.concatenate((self._reward, np.zeros(more - room)))
            self._slot = np.concatenate((self._slot, np.zeros(more - room, np.intp)))

    def _slot_of(self, action: str) -> int:
        slot = self._slots.get(action)
        if slot is None:
            if self._free:
                slot = self._free.pop()
                self._ids[slot] = action
            else:
                slot = len(self._ids)
                self._ids.append(action)
                self._uses.append(0)
            self._slots[action] = slot
        self._uses[slot] += 1
        return slot

    def _forget(self, slot: int) -> None:
        self._uses[slot] -= 1
        if not self._uses[slot]:
            del self._slots[self._ids[slot]]
            self._free.append(slot)

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays, for `pack`. Actions are numbered by the order of their ids."""
        n = len(self)
        ids = sorted(self._slots)
        number = np.zeros(len(self._ids), np.int64)
        for k, action in enumerate(ids):
            number[self._slots[action]] = k
        return {"ids": ids, "learned": self.learned}, {
            "columns": np.array(list(self._column), np.uint64),
            "x": self._x[:, :n],
            "reward": self._reward[:n],
            "action": number[self._slot[:n]],
        }

    @classmethod
    def load(
        cls,
        limit: int,
        dimensions: int,
        header: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
    ) -> Self:
        """The memory whose `dump` this is.

        Raises:
            ValueError, KeyError, TypeError: it is not one.
        """
        self = cls(limit, dimensions)
        ids, self.learned = header["ids"], header["learned"]
        if not isinstance(self.learned, int) or self.learned < 0:
            raise ValueError(f"{self.learned} interactions")
        n, columns, x = len(self), arrays["columns"].tolist(), arrays["x"]
        reward, action = arrays["reward"], arrays["action"]
        kinds = [array.dtype.str for array in (arrays["columns"], x, reward, action)]
        if kinds != ["<u8", "<f4", "<f8", "<i8"]:
            raise TypeError(f"arrays are of type {kinds}")
        if not (len(set(columns)) == len(columns) <= dimensions and x.shape == (len(columns), n)):
            raise ValueError("columns do not match")
        if not (reward.shape == action.shape == (n,)):
            raise ValueError("not every interaction has an action and a reward")
        if not (np.isfinite(x).all() and np.isfinite(reward).all()):
            raise ValueError("a number is not finite")
        if ids != sorted(set(ids)) or not all(isinstance(each, str) for each in ids):
            raise ValueError("ids are out of order")
        if set(action.tolist()) != set(range(len(ids))):
            raise ValueError("the interactions are not those of these actions")
        room = max(_ROOM, n)
        self._column = {index: j for j, index in enumerate(columns)}
        self._x = np.zeros((len(columns), room), np.float32)
        self._x[:, :n] = x
        self._reward, self._slot = np.zeros(room), np.zeros(room, np.intp)
        self._reward[:n], self._slot[:n] = reward, action
        self._ids = list(ids)
        self._slots = {each: k for k, each in enumerate(ids)}
        self._uses = np.bincount(action, minlength=len(ids)).tolist()
        return self
