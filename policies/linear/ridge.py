"""Ridge regression over sparse features, whose every sum has one fixed order.

Predictions and updates are the same bits whatever else is computed beside them, whatever the CPU or the BLAS, and however
many other features have been learned: each sum runs over the features of x from the lowest index to the highest, one term
after the other (a term of value 0 changes no bit), and only + - * / and sqrt, which IEEE 754 rounds correctly, touch a
number. So no matrix product and no numpy sum(), whose orders are their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Up to this many elements one call of numpy's accumulate is faster than one addition for each row (measured: 10 us each).
_SMALL = 2_500
# Most of ridge^-1 * |x|^2. One rounding error of A^-1 is 1e-16 / ridge, which x makes 1e-4 of a variance that is about 1:
# beyond that A^-1 stops being positive and the regression runs away. Standardised features stay below 1e5.
_REACH = 1e12


# A row of indices; the column of each, whether it has one, and whether all have.
_Found = tuple["NDArray[np.uint64]", "NDArray[np.intp]", "NDArray[np.bool_]", bool]


class Ridge:
    """One ridge regression: A = ridge * I + sum x x', theta = A^-1 sum reward x, over the columns learned so far."""

    __slots__ = ("_found", "columns", "inverse", "keys", "theta")

    def __init__(
        self,
        keys: NDArray[np.uint64],
        theta: NDArray[np.float64],
        inverse: NDArray[np.float64],
    ) -> None:
        self.keys = keys  # [d] sorted: column j belongs to the feature of index keys[j]
        self.theta = theta  # [d]
        self.inverse = inverse  # [d, d] A^-1, symmetric to the bit
        self.columns = keys.tobytes()  # for grouping; bytes remember their hash
        self._found: _Found | None = None

    @classmethod
    def prior(cls) -> Self:
        return cls(np.empty(0, np.uint64), np.empty(0), np.empty((0, 0)))

    def grown(self, index: NDArray[np.uint64], prior: float, limit: int) -> Ridge:
        """With a column for each new feature of the row [1, n], lowest index first, as long as there is room."""
        room = limit - len(self.keys)
        if not room or self._find(index)[2]:
            return self
        new = np.setdiff1d(index, self.keys)[:room]
        keys = np.sort(np.concatenate((self.keys, new)))
        old = np.searchsorted(keys, self.keys)
        theta, inverse = np.zeros(len(keys)), np.diag(np.full(len(keys), prior))
        theta[old] = self.theta
        inverse[np.ix_(old, old)] = self.inverse
        return Ridge(keys, theta, inverse)

    def learn(
        self, index: NDArray[np.uint64], value: NDArray[np.float64], reward: float, limit: int
    ) -> None:
        """Takes in x, given as one row [1, n], by the formula of Sherman & Morrison (1950)."""
        columns, _, all_known = self._find(index)
        if not all_known:
            columns, _, value = _columns(self.keys, index, value, limit)
        at, x = columns[0], value[0]
        inverse, theta = self.inverse, self.theta
        if len(at) < len(self.keys):
            inverse, theta = inverse[at], theta[at]
        gain = _sum_rows(inverse * x[:, np.newaxis])  # A^-1 x
        scale = 1.0 + _not_negative(_sum(x * gain[at]))
        error = reward - _sum(theta * x)
        self.theta += gain * (error / scale)
        gain /= np.sqrt(scale)
        self.inverse -= gain[:, np.newaxis] * gain

    def _find(self, index: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_], bool]:
        """(column of each index, whether it has one, whether all have). The last answer is remembered."""
        if self._found is None or self._found[0] is not index:
            at, known = _find(self.keys, index)
            self._found = index, at, known, bool(known.all())
        return self._found[1:]


def bounded(value: NDArray[np.float64], prior: float) -> NDArray[np.float64]:
    """Rows of x [g, n], those that are too long for double precision made shorter, their direction kept.

    >>> bounded(np.array([[3.0, 4.0], [3e6, 4e6]]), prior=1.0)
    array([[3.e+00, 4.e+00],
           [6.e+05, 8.e+05]])
    """
    squares = _sum(value * value) * prior
    far = squares > _REACH
    if not far.any():
        return value
    factor = np.where(far, np.sqrt(_REACH / np.where(far, squares, 1.0)), 1.0)
    return value * factor[:, np.newaxis]


def predict(
    ridges: list[Ridge],
    index: NDArray[np.uint64],
    value: NDArray[np.float64],
    prior: float,
    limit: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(theta' x, x' A^-1 x), each [g], of g regressions with equal columns (or 1) for g rows of x (or 1).

    A feature that has no column yet is exact all the same: its theta is 0, and its row of A^-1 is that of I / ridge.
    """
    keys = ridges[0].keys
    d = len(keys)
    if not d:
        return np.zeros(1), _sum(value * (value * prior))
    at, known, x = _columns(keys, index, value, limit)
    inside = np.where(known, x, 0.0)
    theta = np.concatenate([ridge.theta for ridge in ridges]).reshape(-1, d)
    inverse = np.concatenate([ridge.inverse for ridge in ridges]).reshape(-1, d, d)
    if not (at.shape[1] == d and known.all()):
        which = np.arange(len(ridges))[:, np.newaxis]
        theta = theta[which, at]
        inverse = inverse[which[:, np.newaxis], at[:, :, np.newaxis], at[:, np.newaxis, :]]
    row = np.where(known, _sum_rows(inverse * inside[:, :, np.newaxis]), x * prior)
    return _sum(theta * inside), _not_negative(_sum(x * row))


def _columns(
    keys: NDArray[np.uint64], index: NDArray[np.uint64], value: NDArray[np.float64], limit: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.float64]]:
    """(column, whether it has one, value) of each element of the rows of x [g, n].

    Where all `limit` columns are taken, an element without one is added to another column, never the bias's, and the
    rows come back dense [g, d]. The sign keeps inner products unbiased (Weinberger et al. 2009).
    """
    d = len(keys)
    at, known = _find(keys, index)
    if d < limit or known.all():
        return at, known, value
    at = np.where(known, at, 1 + (index % np.uint64(d - 1)).astype(np.intp))
    sign = np.where(known | (index >> np.uint64(63) == 0), 1.0, -1.0)
    dense = np.zeros((len(index), d))
    np.add.at(dense, (np.arange(len(index))[:, np.newaxis], at), sign * value)
    columns = np.arange(d)[np.newaxis]
    return columns, np.ones((1, d), np.bool_), dense


def _find(
    keys: NDArray[np.uint64], index: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """(column of each index, whether it has one)."""
    if not len(keys):
        return np.zeros(index.shape, np.intp), np.zeros(index.shape, np.bool_)
    at = np.minimum(np.searchsorted(keys, index), len(keys) - 1)
    return at, keys[at] == index


def _sum(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums along the last axis, strictly from left to right."""
    return np.add.accumulate(terms, axis=-1)[..., -1]


def _sum_rows(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the rows of matrices [..., n, m], strictly from the first to the last; two ways, the same bits."""
    if terms.size < _SMALL:
        return np.add.accumulate(terms, axis=-2)[..., -1, :]
    total = terms[..., 0, :].copy()
    for row in range(1, terms.shape[-2]):
        total += terms[..., row, :]
    return total


def _not_negative(variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounding can take a variance that is 0 just below 0."""
    return np.maximum(variance, 0.0)
