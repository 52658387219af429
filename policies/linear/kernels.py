"""The inner loops of ridge regression, twice: compiled by numba where it is installed, and in plain numpy.

Both give the same bits: each sum runs from the first feature to the last, one term after the other, and only + - * / and
sqrt touch a number. The compiler may do several columns at once, as no sum runs over them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from policies.compiled import compiled
from policies.linear.pairs import predict_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

# Most of ridge^-1 * |x|^2. One rounding error of A^-1 is 1e-16 / ridge, which x makes 1e-4 of a variance that is about 1:
# beyond that A^-1 stops being positive and the regression runs away. Standardised features stay below 1e5.
REACH = 1e12
# Elements of A^-1 that numpy works on at once: 65,536 x 8 bytes = 512 kB, which a CPU's second cache still holds.
CHUNK = 65_536
COMPILED = True  # for tests: whether to use numba at all
# Where x has fewer than one feature for so many columns, picking out its columns is faster than taking all.
_SPARSE = 8


class Kernels(NamedTuple):
    """The inner loops; arguments are C-contiguous."""

    bound: Callable[[Floats, float], None]
    """(x [r, n], ridge^-1): makes rows that are too long for double precision shorter, in place."""

    predict: Callable[..., None]
    """(inverse [B, d, d], theta [B, d], which [g], members [g], at [r, n], known [r, n], x [N, r, n], ridge^-1,
    mean [N, K], variance [N, K]): writes theta' x and x' A^-1 x of g members, at these places, for each of N events. Each member
    has the regression `which`, and a row of x of its own, unless there is only one. A feature without a column has theta 0
    and a row of I / ridge."""

    learn: Callable[[Floats, Floats, Places, Floats, float, float], None]
    """(inverse [d, d], theta [d], at [n], x [n], reward, sign): takes in x, by the formula of Sherman & Morrison (1950); or
    takes it out again, if the sign is not 1 but -1."""

    covariance: Callable[..., None]
    """(inverse [d, d], at [K, n], known [K, n], x [K, n], out [K, K]): adds x_k' A^-1 x_l over the features with a column to
    the elements l <= k of out."""


def kernels() -> Kernels:
    """The compiled ones if numba is there, or numpy's."""
    return (_compiled() if COMPILED else None) or NUMPY


@cache
def _compiled() -> Kernels | None:
    made = compiled(_LOOPS)
    if made is None:
        return None
    single, pairs = made["predict"], made.pop("predict_pairs")

    def predict(*asked: Any) -> None:
        *of, x, prior, mean, variance = asked
        even = 0 if x.shape[2] * _SPARSE < of[1].shape[1] else len(x) // 2 * 2
        for loop, begin, end in ((pairs, 0, even), (single, even, len(x))):
            if begin < end:
                loop(*of, x[begin:end], prior, mean[begin:end], variance[begin:end])

    return Kernels(**(made | {"predict": predict}))


def _bound(x: Any, prior: Any) -> None:
    for r in range(x.shape[0]):
        squares = x[r, 0] * x[r, 0]
        for i in range(1, x.shape[1]):
            squares += x[r, i] * x[r, i]
        squares *= prior
        if squares > REACH:
            factor = np.sqrt(REACH / squares)
            for i in range(x.shape[1]):
                x[r, i] *= factor


def _predict(  # noqa: C901  # one function, as calls of compiled functions cost
    inverse: Any,
    theta: Any,
    which: Any,
    members: Any,
    at: Any,
    known: Any,
    x: Any,
    prior: Any,
    mean: Any,
    variance: Any,
) -> None:
    n, d = x.shape[2], theta.shape[1]
    row, inside = np.empty(d), np.empty(n)
    for m in range(members.shape[0]):
        k, b = members[m], which[m]
        r = m if x.shape[1] > 1 else 0
        square, weights, columns = inverse[b], theta[b], at[r]
        for e in range(x.shape[0]):
            for i in range(n):
                inside[i] = x[e, r, i] if known[r, i] else 0.0
            total = weights[columns[0]] * inside[0]
            for i in range(1, n):
                total += weights[columns[i]] * inside[i]
            mean[e, k] = total
            if n * _SPARSE < d:
                for j in columns:
                    total = square[columns[0], j] * inside[0]
                    for i in range(1, n):
                        total += square[columns[i], j] * inside[i]
                    row[j] = total
            else:
                line, value = square[columns[0]], inside[0]
                for j in range(d):
                    row[j] = line[j] * value
                # Four terms at a time, one after the other as before: `row` is read and written a quarter as often.
                fours = 1 + (n - 1) // 4 * 4
                for i in range(1, fours, 4):
                    line, value = square[columns[i]], inside[i]
                    line2, value2 = square[columns[i + 1]], inside[i + 1]
                    line3, value3 = square[columns[i + 2]], inside[i + 2]
                    line4, value4 = square[columns[i + 3]], inside[i + 3]
                    for j in range(d):
                        part = row[j] + line[j] * value
                        part += line2[j] * value2
                        part += line3[j] * value3
                        row[j] = part + line4[j] * value4
                for i in range(fours, n):
                    line, value = square[columns[i]], inside[i]
                    for j in range(d):
                        row[j] += line[j] * value
            total = x[e, r, 0] * (row[columns[0]] if known[r, 0] else x[e, r, 0] * prior)
            for i in range(1, n):
                total += x[e, r, i] * (row[columns[i]] if known[r, i] else x[e, r, i] * prior)
            variance[e, k] = max(0.0, total)


def _learn(inverse: Any, theta: Any, at: Any, x: Any, reward: Any, sign: Any) -> None:
    n, d = x.shape[0], theta.shape[0]
    gain = np.empty(d)
    line, value = inverse[at[0]], x[0]
    for j in range(d):
        gain[j] = line[j] * value
    for i in range(1, n):
        line, value = inverse[at[i]], x[i]
        for j in range(d):
            gain[j] += line[j] * value
    variance, expected = x[0] * gain[at[0]], theta[at[0]] * x[0]
    for i in range(1, n):
        variance += x[i] * gain[at[i]]
        expected += theta[at[i]] * x[i]
    scale = 1.0 + sign * max(0.0, variance)
    step, root = sign * ((reward - expected) / scale), np.sqrt(scale)
    for j in range(d):
        theta[j] += gain[j] * step
        gain[j] /= root
    for i in range(d):
        line, value = inverse[i], sign * gain[i]
        for j in range(d):
            line[j] -= value * gain[j]


def _covariance(inverse: Any, at: Any, known: Any, x: Any, out: Any) -> None:
    n, d = x.shape[1], inverse.shape[0]
    row = np.empty(d)
    for k in range(x.shape[0]):
        row[:] = 0.0
        for i in range(n):
            if known[k, i]:
                line, value = inverse[at[k, i]], x[k, i]
                for j in range(d):
                    row[j] += line[j] * value
        for m in range(k + 1):
            total = 0.0
            for i in range(n):
                if known[m, i]:
                    total += row[at[m, i]] * x[m, i]
            out[k, m] += total


_PREDICT = "void(f8[:,:,::1], f8[:,::1], i8[::1], i8[::1], i8[:,::1], b1[:,::1], f8[:,:,::1], f8, f8[:,::1], f8[:,::1])"
_LOOPS: dict[str, tuple[str, Callable[..., None]]] = {
    "bound": ("void(f8[:,::1], f8)", _bound),
    "predict": (_PREDICT, _predict),
    "predict_pairs": (_PREDICT, predict_pairs),
    "learn": ("void(f8[:,::1], f8[::1], i8[::1], f8[::1], f8, f8)", _learn),
    "covariance": ("void(f8[:,::1], i8[:,::1], b1[:,::1], f8[:,::1], f8[:,::1])", _covariance),
}


def sums(terms: Floats) -> Floats:
    """Sums along the last axis, strictly from left to right."""
    return np.add.accumulate(terms, axis=-1)[..., -1]


def sums_of_rows(terms: Floats) -> Floats:
    """Sums of the rows of matrices [..., n, m], m >= n, strictly from the first to the last.

    numpy adds pairwise along the axis that is contiguous only (documentation of numpy.sum); this is another one.
    """
    total: Floats = np.add.reduce(terms, axis=-2)
    return total


def _numpy_bound(x: Floats, prior: float) -> None:
    squares = sums(x * x) * prior
    far = squares > REACH
    if far.any():
        x[far] *= np.sqrt(REACH / squares[far])[:, np.newaxis]


def _numpy_predict(
    inverse: Floats,
    theta: Floats,
    which: Places,
    members: Places,
    at: Places,
    known: NDArray[np.bool_],
    x: Floats,
    prior: float,
    mean: Floats,
    variance: Floats,
) -> None:
    n, d = x.shape[2], theta.shape[1]
    whole = n == d and bool((at == np.arange(d)).all())
    most = max(1, CHUNK // (len(x) * n * n))
    for start in range(0, len(members), most):
        chunk, b = members[start : start + most], which[start : start + most]
        r = np.arange(start, start + len(chunk)) if x.shape[1] > 1 else _FIRST
        own = x[:, r]
        inside = np.where(known[r], own, 0.0)
        if whole:
            weights, squares = theta[b], inverse[b]
        else:
            i, m = at[r], b[:, np.newaxis]
            weights = theta[m, i]
            squares = inverse[m[:, :, np.newaxis], i[:, :, np.newaxis], i[:, np.newaxis, :]]
        mean[:, chunk] = sums(weights * inside)
        row = sums_of_rows(squares * inside[..., np.newaxis])
        found = sums(own * np.where(known[r], row, own * prior))
        variance[:, chunk] = np.maximum(found, 0.0)


def _numpy_learn(
    inverse: Floats, theta: Floats, at: Places, x: Floats, reward: float, sign: float
) -> None:
    square, weights = inverse, theta
    if len(at) < len(theta):
        square, weights = inverse[at], theta[at]
    gain = sums_of_rows(square * x[:, np.newaxis])  # A^-1 x
    scale = 1.0 + sign * np.maximum(sums(x * gain[at]), 0.0)
    error = reward - sums(weights * x)
    theta += gain * (sign * (error / scale))
    gain /= np.sqrt(scale)
    inverse -= (sign * gain)[:, np.newaxis] * gain


def _numpy_covariance(
    inverse: Floats, at: Places, known: NDArray[np.bool_], x: Floats, out: Floats
) -> None:
    inside, k = np.where(known, x, 0.0), np.arange(len(x))
    row, dense = np.zeros((len(x), len(inverse))), np.zeros((len(x), len(inverse)))
    for i in range(x.shape[1]):
        row += inverse[at[:, i]] * inside[:, i : i + 1]
        dense[k, at[:, i]] += inside[:, i]
    total = np.zeros(out.shape)
    for j in range(len(inverse)):
        total += row[:, j : j + 1] * dense[:, j]
    out += np.tril(total)


_FIRST = np.zeros(1, np.intp)
NUMPY = Kernels(_numpy_bound, _numpy_predict, _numpy_learn, _numpy_covariance)
