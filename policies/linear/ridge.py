"""Ridge regressions over sparse features, whose every sum has one fixed order.

Predictions and updates are the same bits whatever else is computed beside them, whatever the CPU or the BLAS, and however
many other features have been learned: each sum runs over the features of x from the lowest index to the highest, one term
after the other (a term of value 0 changes no bit), and only + - * / and sqrt, which IEEE 754 rounds correctly, touch a
number. So no matrix product and no numpy sum(), whose orders are their own. The inner loops are in `kernels`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from policies.linear import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.linear.design import Rows

# Taking x out again loses as many digits as 1 - x' A^-1 x is small. Below this it is not done; all is built anew then.
LEAST = 1e-6
# Weights that are all remembered as shares of one number are raised where that falls below 2^-300: by a power of two, which
# changes no bit. What then weighs less than 2^-30 of what it once did is forgotten altogether.
_RAISE = 2.0**-300
_FORGOTTEN = 2.0**-30
_TINY = 1e-300
# How much of it the prior may lose by discounting before it is put back. Each time costs d lessons.
_PUT_BACK = 0.5

_NO_KEYS, _NONE = np.empty(0, np.uint64), np.empty(0)


class Stack:
    """Regressions over the same columns, side by side: A = ridge * I + sum x x', theta = A^-1 sum reward x."""

    __slots__ = ("columns", "ids", "inverse", "keys", "left", "most", "since", "theta")

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        d = len(keys)
        self.keys = keys  # [d] sorted: column j belongs to the feature of index keys[j]
        self.columns = keys.tobytes()
        self.ids: list[str] = []  # [B] whose they are
        self.theta = np.empty((1, d))  # [>= B, d]
        self.inverse = np.empty((1, d, d))  # [>= B, d, d] A^-1, symmetric to the bit
        self.since = np.empty(
            1
        )  # [>= B] the weight of a lesson learned now, as it was at its last lesson
        self.left = np.empty(1)  # [>= B] what is left of the ridge in A, as a share
        # Room is doubled as it is needed, up to here: so no more than half of it, or 512 kB, is ever empty.
        self.most = max(1, kernels.CHUNK // (d * d))

    def add(self, key: str) -> int:
        """Makes room for one more and returns its place; theta and A^-1 hold nothing yet."""
        place, room = len(self.ids), len(self.theta)
        if place == room:
            room = min(2 * room, self.most)
            self.theta = _longer(self.theta, room)
            self.inverse = _longer(self.inverse, room)
            self.since, self.left = _longer(self.since, room), _longer(self.left, room)
        self.ids.append(key)
        return place

    def remove(self, place: int) -> str | None:
        """Takes one out. The last one moves into its place, and is returned."""
        last = self.ids.pop()
        if place == len(self.ids):
            return None
        self.ids[place] = last
        for array in (self.theta, self.inverse, self.since, self.left):
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

    With a discount lessons weigh discount^n after n more of whatever key (D-LinUCB: Russac, Vernade & Cappe 2019, "Weighted
    Linear Bandits for Non-Stationary Environments", with x' A^-1 x as the variance): A = sum of weight x x' + ridge * I. Only
    the regression that learns is brought up to date, by dividing A^-1, so that the ridge loses weight too; where half of it is
    lost it is put back. In between, and while others learn, predictions account for what weighs less and what is lost as if x
    were the only direction, which is exact for one feature and else never says that too much is known (Jensen): no variance
    exceeds that of the prior, and with time all returns to it.

    Args:
        ridge: lambda, > 0.
        limit: most columns of each.
        discount: in (0.5, 1]; 1 forgets nothing.
    """

    def __init__(self, ridge: float, limit: int, discount: float = 1.0) -> None:
        self._discount = discount
        self._now = 1.0  # the weight of a lesson learned now, as those of all others are remembered
        self._prior = 1.0 / ridge
        self._limit = limit
        self._kernels = kernels.kernels()
        self._places: dict[str, tuple[Stack, int]] = {}
        self._stacks: dict[bytes, list[Stack]] = {}  # by their columns
        self._generation = 0  # grows whenever a regression is born or moves

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def keys(self, key: str) -> NDArray[np.uint64]:
        """Its columns [d]; none if nothing is learned yet."""
        return self._places[key][0].keys if key in self._places else _NO_KEYS

    def of(self, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(theta [d], A^-1 [d, d]) of one that exists: views, until the next is born or moves."""
        stack, place = self._places[key]
        return stack.theta[place], stack.inverse[place]

    def bounded(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows of x [r, n], those that are too long for double precision made shorter in place, their direction kept."""
        self._kernels.bound(x, self._prior)
        return x

    def predict(
        self,
        keys: Sequence[str],
        rows: Rows,
        x: NDArray[np.float64],
        kept: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(theta' x, x' A^-1 x), each [K], of K regressions for K rows of x [r, n], r = K or 1.

        A feature that has no column yet is exact all the same: its theta is 0, and its row of A^-1 is that of I / ridge.

        Args:
            kept: [K] of ones, into which is written by what means were multiplied, as something was forgotten.
        """
        alone = None if kept is None else kept[np.newaxis]
        mean, variance = self.predict_alike(keys, rows, x[np.newaxis], alone)
        return mean[0], variance[0]

    def predict_alike(
        self,
        keys: Sequence[str],
        rows: Rows,
        x: NDArray[np.float64],
        kept: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`predict` for each of N times these rows, x [N, r, n]: each [N, K], as `kept` is."""
        groups = self._planned(keys, rows)
        mean, variance = np.zeros((len(x), len(keys))), np.empty((len(x), len(keys)))
        for stack, which, members, at, known, sign in groups:
            own = x if x.shape[1] == 1 or len(groups) == 1 else x.take(members, axis=1)
            if stack is None:
                variance[:, members] = kernels.sums(own * (own * self._prior))
                continue
            if sign is not None:
                own, at, known = _folded(own, at, sign, len(stack.keys))
            self._kernels.predict(
                stack.inverse, stack.theta, which, members, at, known, own, self._prior, mean, variance
            )  # fmt: skip
            if self._discount < 1.0:
                share = self._fade(stack, which, members, own, mean, variance)
                if kept is not None:
                    kept[:, members] = share
        return mean, variance

    def _fade(
        self,
        stack: Stack,
        which: NDArray[np.intp],
        members: NDArray[np.intp],
        x: NDArray[np.float64],
        mean: NDArray[np.float64],
        variance: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Brings predictions [N, K] of regressions for x [N, r, n] up to date; returns by what their means were multiplied.

        For one feature 1 / variance = data + left / prior, which becomes g data + 1 / prior if the data weigh g of what they
        did: that is variance / (g + (1 - g left) variance / prior).
        """
        prior = kernels.sums(x * (x * self._prior))
        g = self._now / stack.since[which]
        v = variance[:, members]
        share = 1.0 / (g + (1.0 - g * stack.left[which]) * (v / np.maximum(prior, _TINY)))
        variance[:, members] = np.minimum(v * share, prior)
        mean[:, members] *= g * share
        return g * share

    def tick(self) -> list[str]:
        """All lessons so far weigh less from now on. Returns the keys of regressions that are forgotten by that."""
        self._now *= self._discount
        if self._now >= _RAISE:
            return []
        gone = [
            key
            for key, (stack, place) in self._places.items()
            if self._now < _FORGOTTEN * stack.since[place]
        ]
        for key in gone:
            self._remove(key)
        for stack in (stack for stacks in self._stacks.values() for stack in stacks):
            stack.since[: len(stack.ids)] /= _RAISE
        self._now /= _RAISE
        return gone

    def age(self, key: str) -> None:
        """Brings one up to date, or forgets it if it is too old."""
        if key not in self._places:
            return
        stack, place = self._places[key]
        g = self._now / stack.since[place]
        if g < _FORGOTTEN:
            self._remove(key)
            return
        stack.inverse[place] /= g
        stack.left[place] *= g
        stack.since[place] = self._now

    def lost(self, key: str) -> NDArray[np.float64]:
        """What the ridge has lost, if it is time to put that back: rows [d, d] to be learned with the reward 0; or [0, d]."""
        stack, place = self._places.get(key, (None, 0))
        if stack is None or stack.left[place] >= _PUT_BACK:
            return np.empty((0, 0))
        lost = np.sqrt((1.0 - stack.left[place]) / self._prior)
        stack.left[place] = 1.0
        return np.diag(np.full(len(stack.keys), lost))

    def unlearn(self, key: str, rows: Rows, x: NDArray[np.float64], reward: float) -> bool:
        """Takes out one row x [1, n] that was learned; False, and nothing is done, if too many digits would be lost."""
        if 1.0 - self.predict((key,), rows, x)[1][0] < LEAST:
            return False
        self._learn(key, rows, x, reward, -1.0)
        return True

    def learn(self, key: str, rows: Rows, x: NDArray[np.float64], reward: float) -> None:
        """Takes in one row x [1, n]. It first gets a column for each new feature, as long as there is room."""
        plan = rows.plan
        if plan is None or plan.generation != self._generation:
            self.grow(key, rows.index)
        self._learn(key, rows, x, reward, 1.0)

    def _learn(
        self, key: str, rows: Rows, x: NDArray[np.float64], reward: float, sign: float
    ) -> None:
        (stack, which, _, at, _, fold), *_ = self._planned((key,), rows)
        assert stack is not None
        if fold is not None:
            lesson, at, _ = _folded(x[np.newaxis], at, fold, len(stack.keys))
            x = lesson[0]
        place = which[0]
        self._kernels.learn(stack.inverse[place], stack.theta[place], at[0], x[0], reward, sign)

    def covariance(self, key: str, rows: Rows, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """x_k' A^-1 x_l [K, K] under one regression, for l <= k only, but for what is the same for all actions.

        Features that have no column yet, of which nothing is learned, count as if no two actions shared one.
        """
        dense, known = self.dense(key, rows.index, x)
        own = np.where(known | rows.common, 0.0, x)
        found = np.diag(kernels.sums(own * (own * self._prior)))
        self.add_covariance(key, dense, found)
        return found

    def dense(
        self, key: str, index: NDArray[np.uint64], x: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(rows of x [r, n] over all columns of one regression [r, d], which features have a column [r, n])."""
        keys = self.keys(key)
        at, known, sign = _columns(keys, index, self._limit)
        if sign is not None:
            return _folded(x[np.newaxis], at, sign, len(keys))[0][0], np.ones(index.shape, np.bool_)
        dense = np.zeros((len(x), len(keys)))
        dense[np.nonzero(known)[0], at[known]] = x[known]
        return dense, known

    def predict_dense(
        self, key: str, dense: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `predict`, of one regression for K rows over all its columns [K, d]."""
        mean, variance = self._predict_dense(key, dense)
        if self._discount < 1.0 and key in self._places:
            stack, place = self._places[key]
            which, one = np.full(len(dense), place, np.intp), np.newaxis
            everyone = np.arange(len(dense))
            self._fade(stack, which, everyone, dense[one], mean[one], variance[one])
        return mean, variance

    def _predict_dense(
        self, key: str, dense: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, variance = np.zeros(len(dense)), np.zeros(len(dense))
        if key in self._places:
            stack, place = self._places[key]
            which, members = np.full(len(dense), place, np.intp), np.arange(len(dense))
            at, known = _all_columns(dense)
            x, means, variances = dense[np.newaxis], mean[np.newaxis], variance[np.newaxis]
            self._kernels.predict(
                stack.inverse, stack.theta, which, members, at, known, x, self._prior, means, variances
            )  # fmt: skip
        return mean, variance

    def learn_dense(
        self, key: str, dense: NDArray[np.float64], reward: float, sign: float = 1.0
    ) -> None:
        """Takes in one row over all columns [d]; or out, if the sign is -1."""
        theta, inverse = self.of(key)
        self._kernels.learn(inverse, theta, np.arange(len(dense)), dense, reward, sign)

    def add_covariance(self, key: str, dense: NDArray[np.float64], to: NDArray[np.float64]) -> None:
        """Adds x_k' A^-1 x_l of K rows over all columns [K, d] to the elements l <= k of [K, K]."""
        if key in self._places:
            if self._discount < 1.0:
                faded, plain = self.predict_dense(key, dense)[1], self._predict_dense(key, dense)[1]
                dense = dense * np.sqrt(faded / np.maximum(plain, _TINY))[:, np.newaxis]
            self._kernels.covariance(self.of(key)[1], *_all_columns(dense), dense, to)

    def grow(self, key: str, index: NDArray[np.uint64]) -> None:
        """A column for each new feature of the row [1, n], lowest index first, as long as there is room."""
        keys = self.keys(key)
        new = np.setdiff1d(index, keys)[: self._limit - len(keys)]
        if not len(new):
            return
        grown = np.sort(np.concatenate((keys, new)))
        theta, since, left = np.zeros(len(grown)), self._now, 1.0
        if key in self._places:
            stack, place = self._places[key]
            since, left = stack.since[place], stack.left[place]
        inverse = np.diag(np.full(len(grown), self._prior / left))
        if key in self._places:
            old = np.searchsorted(grown, keys)
            theta[old], inverse[np.ix_(old, old)] = self.of(key)
            self._remove(key)
        self._put(key, grown, theta, inverse, since, left)

    def _put(
        self,
        key: str,
        keys: NDArray[np.uint64],
        theta: NDArray[np.float64],
        inverse: NDArray[np.float64],
        since: float,
        left: float,
    ) -> None:
        stacks = self._stacks.setdefault(keys.tobytes(), [])
        stack = next((stack for stack in stacks if len(stack.ids) < stack.most), None)
        if stack is None:
            stack = Stack(stacks[0].keys if stacks else keys)
            stacks.append(stack)
        place = stack.add(key)
        stack.theta[place], stack.inverse[place] = theta, inverse
        stack.since[place], stack.left[place] = since, left
        self._places[key] = stack, place
        self._generation += 1

    def _remove(self, key: str) -> None:
        stack, place = self._places.pop(key)
        moved = stack.remove(place)
        if moved is not None:
            self._places[moved] = stack, place
        if not stack.ids:
            stacks = self._stacks[stack.columns]
            stacks.remove(stack)
            if not stacks:
                del self._stacks[stack.columns]
            # Plans that are out of date may still know it.
            stack.theta, stack.inverse = np.empty((0, 0)), np.empty((0, 0, 0))
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

    def dump(self) -> tuple[list[str], dict[str, NDArray[Any]]]:
        """(the keys, sorted; arrays with all regressions one after the other)."""
        ids = sorted(self._places)
        numbers = [self.of(key) for key in ids]
        arrays = {
            "sizes": np.array([len(theta) for theta, _ in numbers], np.int64),
            "keys": np.concatenate([_NO_KEYS, *(self.keys(key) for key in ids)]),
            "theta": np.concatenate([_NONE, *(theta for theta, _ in numbers)]),
            "inverse": np.concatenate([_NONE, *(inverse.ravel() for _, inverse in numbers)]),
        }
        if self._discount < 1.0:
            places = [self._places[key] for key in ids]
            arrays["now"] = np.array([self._now])
            arrays["since"] = np.array([stack.since[place] for stack, place in places])
            arrays["left"] = np.array([stack.left[place] for stack, place in places])
        return ids, arrays

    def load(
        self,
        ids: list[str],
        sizes: NDArray[np.int64],
        keys: NDArray[np.uint64],
        theta: NDArray[np.float64],
        inverse: NDArray[np.float64],
        now: NDArray[np.float64] | None = None,
        since: NDArray[np.float64] | None = None,
        left: NDArray[np.float64] | None = None,
    ) -> None:
        """Takes on what `dump` gave.

        Raises:
            TypeError, ValueError: it did not.
        """
        if (
            len(ids) != len(sizes)
            or ids != sorted(set(ids))
            or not all(isinstance(a, str) for a in ids)
        ):
            raise ValueError("ids and sizes do not match")
        kinds = [array.dtype.str for array in (sizes, keys, theta, inverse)]
        if kinds != ["<i8", "<u8", "<f8", "<f8"]:
            raise TypeError(f"arrays are of type {kinds}")
        if not ((sizes > 0).all() and (sizes <= self._limit).all()):
            raise ValueError(f"a regression without columns, or with more than {self._limit}")
        if not len(keys) == len(theta) == sizes.sum() or len(inverse) != (sizes * sizes).sum():
            raise ValueError("sizes do not match")
        weights = self._loaded_weights(len(ids), now, since, left)
        for action, d, (then, share) in zip(ids, sizes.tolist(), weights, strict=True):
            square = inverse[: d * d].reshape(d, d)
            if not (keys[1:d] > keys[: d - 1]).all():
                raise ValueError(f"columns of {action!r} are out of order")
            if not (square == square.T).all():
                raise ValueError(f"A^-1 of {action!r} is not symmetric")
            if not (np.isfinite(square).all() and np.isfinite(theta[:d]).all()):
                raise ValueError(f"a number of {action!r} is not finite")
            self._put(action, keys[:d].copy(), theta[:d], square, then, share)
            keys, theta, inverse = keys[d:], theta[d:], inverse[d * d :]

    def _loaded_weights(
        self, count: int, now: Any, since: Any, left: Any
    ) -> list[tuple[float, float]]:
        """(since, left) of each regression."""
        given = [array for array in (now, since, left) if array is not None]
        if self._discount == 1.0 and not given:
            return [(1.0, 1.0)] * count
        if [(array.dtype.str, array.shape) for array in given] != [
            ("<f8", (size,)) for size in (1, count, count)
        ] or self._discount == 1.0:
            raise TypeError("not the weights of a discounted regression")
        self._now = float(now[0])
        if not (
            _RAISE <= self._now <= 1.0 / _FORGOTTEN
            and (since >= self._now).all()
            and (since <= 1.0 / _FORGOTTEN).all()
            and (left > 0.0).all()
            and (left <= 1.0).all()
        ):
            raise ValueError("a weight is out of bounds")
        return list(zip(since.tolist(), left.tolist(), strict=True))


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
    """Rows of x [N, r, n] as dense ones [N, r, d], with columns [r, d] all of which are known."""
    dense = np.zeros((*x.shape[:2], d))
    events, rows = np.ogrid[: x.shape[0], : x.shape[1]]
    np.add.at(dense, (events[..., np.newaxis], rows[..., np.newaxis], at), sign * x)
    return dense, *_all_columns(dense[0])


def _all_columns(
    dense: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """(column of each element, whether it has one) of rows over all columns [r, d]."""
    return np.tile(np.arange(dense.shape[1]), (len(dense), 1)), np.ones(dense.shape, np.bool_)


def _longer(array: NDArray[np.float64], room: int) -> NDArray[np.float64]:
    longer = np.empty((room, *array.shape[1:]))
    longer[: len(array)] = array
    return longer
