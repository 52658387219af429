"""Ridge regressions over sparse features, whose every sum has one fixed order.

Predictions and updates are the same bits whatever else is computed beside them, whatever the CPU or the BLAS, and however
many other features have been learned: each sum runs over the features of x from the lowest index to the highest, one term
after the other (a term of value 0 changes no bit), and only + - * / and sqrt, which IEEE 754 rounds correctly, touch a
number. So no matrix product and no numpy sum(), whose orders are their own. The inner loops are in `kernels`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from policies.linear import kernels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from policies.linear.design import Rows


class Stack:
    """Regressions over the same columns, side by side: A = ridge * I + sum x x', theta = A^-1 sum reward x."""

    __slots__ = ("columns", "ids", "inverse", "keys", "most", "theta")

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        d = len(keys)
        self.keys = keys  # [d] sorted: column j belongs to the feature of index keys[j]
        self.columns = keys.tobytes()
        self.ids: list[str] = []  # [B] whose they are
        self.theta = np.empty((1, d))  # [>= B, d]
        self.inverse = np.empty((1, d, d))  # [>= B, d, d] A^-1, symmetric to the bit
        # Room is doubled as it is needed, up to here: so no more than half of it, or 512 kB, is ever empty.
        self.most = max(1, kernels.CHUNK // (d * d))

    def add(self, key: str) -> int:
        """Makes room for one more and returns its place; theta and A^-1 hold nothing yet."""
        place, room = len(self.ids), len(self.theta)
        if place == room:
            room = min(2 * room, self.most)
            self.theta = _longer(self.theta, room)
            self.inverse = _longer(self.inverse, room)
        self.ids.append(key)
        return place

    def remove(self, place: int) -> str | None:
        """Takes one out. The last one moves into its place, and is returned."""
        last = self.ids.pop()
        if place == len(self.ids):
            return None
        self.ids[place] = last
        for array in (self.theta, self.inverse):
            array[place] = array[len(self.ids)]
        return last


class _Group(NamedTuple):
    """Members of a set of actions whose regressions stand in one stack, and where their features are there."""

    stack: Stack | None  # None: nothing is learned of them yet
    which: NDArray[np.intp]  # [g] places in the stack
    members: NDArray[np.intp]  # [g] which of the K actions
    at: NDArray[np.intp]  # [r, n] column of each feature
    known: NDArray[np.bool_]  # [r, n] whether it has one
    sign: (
        NDArray[np.float64] | None
    )  # [r, n] of features folded onto other columns, if the stack is full


class _Plan(NamedTuple):
    """How the rows of one kind of event are scored, until a regression is born or moves."""

    generation: int
    groups: list[_Group]


class Ridges:
    """Ridge regressions by a key: the action's id, or "" for one that all share.

    Args:
        ridge: lambda, > 0.
        limit: most columns of each.
    """

    def __init__(self, ridge: float, limit: int) -> None:
        self._prior = 1.0 / ridge
        self._limit = limit
        self._kernels = kernels.kernels()
        self._places: dict[str, tuple[Stack, int]] = {}
        self._stacks: dict[bytes, list[Stack]] = {}  # by their columns; only the last has room
        self._generation = 0  # grows whenever a regression is born or moves

    def __len__(self) -> int:
        return len(self._places)

    def items(
        self,
    ) -> Iterator[tuple[str, NDArray[np.uint64], NDArray[np.float64], NDArray[np.float64]]]:
        """(key, columns [d], theta [d], A^-1 [d, d]) of each, by their keys."""
        for key in sorted(self._places):
            stack, place = self._places[key]
            yield key, stack.keys, stack.theta[place], stack.inverse[place]

    def put(
        self,
        key: str,
        keys: NDArray[np.uint64],
        theta: NDArray[np.float64],
        inverse: NDArray[np.float64],
    ) -> tuple[Stack, int]:
        """Sets one that does not exist yet."""
        stacks = self._stacks.setdefault(keys.tobytes(), [])
        if not stacks or len(stacks[-1].ids) == stacks[-1].most:
            stacks.append(Stack(stacks[0].keys if stacks else keys))
        stack = stacks[-1]
        place = stack.add(key)
        stack.theta[place], stack.inverse[place] = theta, inverse
        self._places[key] = stack, place
        self._generation += 1
        return stack, place

    def bounded(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows of x [r, n], those that are too long for double precision made shorter in place, their direction kept."""
        self._kernels.bound(x, self._prior)
        return x

    def predict(
        self, keys: Sequence[str], rows: Rows, x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(theta' x, x' A^-1 x), each [K], of K regressions for K rows of x (or 1).

        A feature that has no column yet is exact all the same: its theta is 0, and its row of A^-1 is that of I / ridge.
        """
        groups = self._planned(keys, rows)
        mean, variance = np.zeros(len(keys)), np.empty(len(keys))
        for stack, which, members, at, known, sign in groups:
            own = x if len(x) == 1 or len(groups) == 1 else x[members]
            if stack is None:
                variance[members] = kernels.sums(own * (own * self._prior))
                continue
            if sign is not None:
                own, at, known = _folded(own, at, sign, len(stack.keys))
            self._kernels.predict(
                stack.inverse, stack.theta, which, members, at, known, own, self._prior, mean, variance
            )  # fmt: skip
        return mean, variance

    def learn(self, key: str, rows: Rows, x: NDArray[np.float64], reward: float) -> None:
        """Takes in one row x [1, n]. It first gets a column for each new feature, as long as there is room."""
        plan = rows.plan
        if plan is None or plan.generation != self._generation:
            self._grow(key, rows.index)
        (stack, which, _, at, _, sign), *_ = self._planned((key,), rows)
        assert stack is not None
        if sign is not None:
            x, at, _ = _folded(x, at, sign, len(stack.keys))
        place = which[0]
        self._kernels.learn(stack.inverse[place], stack.theta[place], at[0], x[0], reward)

    def _grow(self, key: str, index: NDArray[np.uint64]) -> None:
        """A column for each new feature of the row [1, n], lowest index first, as long as there is room."""
        stack, place = self._places.get(key, (None, 0))
        keys = _NO_KEYS if stack is None else stack.keys
        new = np.setdiff1d(index, keys)[: self._limit - len(keys)]
        if not len(new):
            return
        grown = np.sort(np.concatenate((keys, new)))
        theta, inverse = np.zeros(len(grown)), np.diag(np.full(len(grown), self._prior))
        if stack is not None:
            old = np.searchsorted(grown, keys)
            theta[old], inverse[np.ix_(old, old)] = stack.theta[place], stack.inverse[place]
            self._remove(key)
        self.put(key, grown, theta, inverse)

    def _remove(self, key: str) -> None:
        stack, place = self._places.pop(key)
        moved = stack.remove(place)
        if moved is not None:
            self._places[moved] = stack, place
        stacks = self._stacks[stack.columns]
        stacks.remove(stack)
        if stack.ids:
            stacks.append(stack)
        elif not stacks:
            del self._stacks[stack.columns]
        self._generation += 1

    def _planned(self, keys: Sequence[str], rows: Rows) -> list[_Group]:
        plan: _Plan | None = rows.plan
        if plan is None or plan.generation != self._generation:
            plan = rows.plan = _Plan(self._generation, self._groups(keys, rows.index))
        return plan.groups

    def _groups(self, keys: Sequence[str], index: NDArray[np.uint64]) -> list[_Group]:
        """The members that stand in the same stack, each stack once."""
        found: dict[int, tuple[Stack | None, list[int], list[int]]] = {}
        for k, key in enumerate(keys):
            stack, place = self._places.get(key, (None, 0))
            _, which, members = found.setdefault(id(stack), (stack, [], []))
            which.append(place)
            members.append(k)
        groups = []
        for stack, which, members in found.values():
            own = index if len(index) == 1 or len(found) == 1 else index[members]
            at, known, sign = _columns(_NO_KEYS if stack is None else stack.keys, own, self._limit)
            where = np.array(which, np.intp), np.array(members, np.intp)
            groups.append(_Group(stack, *where, at, known, sign))
        return groups


def _columns(
    keys: NDArray[np.uint64], index: NDArray[np.uint64], limit: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.float64] | None]:
    """(column, whether it has one, sign if folded) of each element of the rows [r, n].

    Where all `limit` columns are taken, an element without one is added to another column, never the bias's. The sign keeps
    inner products unbiased (Weinberger et al. 2009).
    """
    d = len(keys)
    if not d:
        return np.zeros(index.shape, np.intp), np.zeros(index.shape, np.bool_), None
    at = np.minimum(np.searchsorted(keys, index), d - 1)
    known = keys[at] == index
    if d < limit or known.all():
        return at, known, None
    at = np.where(known, at, 1 + (index % np.uint64(d - 1)).astype(np.intp))
    return at, known, np.where(known | (index >> np.uint64(63) == 0), 1.0, -1.0)


def _folded(
    x: NDArray[np.float64], at: NDArray[np.intp], sign: NDArray[np.float64], d: int
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.bool_]]:
    """Rows of x [r, n] as dense ones [r, d], with columns [r, d] all of which are known."""
    dense = np.zeros((len(x), d))
    np.add.at(dense, (np.arange(len(x))[:, np.newaxis], at), sign * x)
    return dense, np.tile(np.arange(d), (len(x), 1)), np.ones(dense.shape, np.bool_)


def _longer(array: NDArray[np.float64], room: int) -> NDArray[np.float64]:
    longer = np.empty((room, *array.shape[1:]))
    longer[: len(array)] = array
    return longer


_NO_KEYS = np.empty(0, np.uint64)
