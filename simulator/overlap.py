"""Overlap: does the log's policy mu do what the policy asked about, pi, would do, often enough to tell its value?

The measure that looks ahead is the expected effective sample size n / mean_t(sum_b pi(b)^2 / mu(b)): the mean is that
of the squared weight before any draw, so it sees actions that mu might have taken and did not. The realised one,
Kish's (sum w)^2 / sum w^2 (Kish 1965, "Survey Sampling"), cannot: where nothing rare was met it looks its best.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, inf, nan, sqrt
from typing import TYPE_CHECKING, Self

import numpy as np

from simulator.ips import NotIdentifiable

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from simulator.sample import Sample

    Column = NDArray[np.float64]

# The bars below which a log is refused.
MOST_UNSUPPORTED = 0.001  # share of pi's actions
LEAST_SHARE = 0.01  # expected ESS / n
LEAST_ROWS = 100.0  # expected ESS
SUSPICIOUS = 0.001
"""p-value of the mean weight below which the logged propensities are doubted."""
# By how much a number that is kept in 4 bytes may be off, as a share of itself.
_NARROW = float(np.finfo(np.float32).eps) / 2
# Halvings of the interval in which the share of exploration is sought: 2^-30 of a share.
_HALVINGS = 30


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a report says about overlap. NaN: the log has no pmfs (or not in all rows), so it cannot be known."""

    n: int
    unsupported: float
    """Share of pi's actions, on average over rows, that mu could not take; in [0, 1]."""
    expected_ess: float
    """n / mean of sum pi^2 / mu over supported actions, in rows; at most n. inf if no action is supported."""
    realised_ess: float
    """(sum w)^2 / sum w^2, in rows; 0 if all weights are 0."""
    max_weight: float
    """The largest weight met."""
    mean_weight: float
    """Its expectation is 1 less the unsupported mass: 1, with full support."""
    z: float
    """How many standard errors the mean weight is off its expectation. The standard error is the one before the draws if the
    log has pmfs, else that of the weights met, which is too small where rare actions were not met."""
    p_value: float
    """Two-sided, of z: a small one says that the logged propensities are not those that were played."""

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """
        >>> from simulator.sample import Sample
        >>> overlap = Overlap.of(Sample.of([0.0] * 4, [0.5] * 4, [1.0, 0.0, 1.0, 0.0], unsupported=[0.0] * 4, expected_square=[2.0] * 4))
        >>> overlap.expected_ess, overlap.realised_ess, overlap.mean_weight, overlap.z
        (2.0, 2.0, 1.0, 0.0)

        Raises:
            NotIdentifiable: there are no rows.
        """
        n = len(sample)
        if not n:
            raise NotIdentifiable("there are no rows yet")
        w = sample.weight
        square = float(w @ w)
        expected = float(sample.expected_square.mean(dtype=np.float64))  # NaN if one row's is
        unsupported = float(sample.unsupported.mean(dtype=np.float64))
        # What is never done brings no rows: sum pi^2 / mu >= (1 - unsupported)^2, so it stays below n.
        supported = (1.0 - unsupported) ** 2 if unsupported == unsupported else 1.0
        expected_ess = n * supported / expected if expected > 0 else (0.0 if expected == 0 else nan)
        mean = float(w.mean())
        z = _z(sample, w)
        return cls(
            n,
            unsupported,
            expected_ess,
            float(w.sum()) ** 2 / square if square > 0 else 0.0,
            float(w.max()),
            mean,
            z,
            erfc(abs(z) / sqrt(2)) if z == z else nan,
        )

    @property
    def ess(self) -> float:
        """The expected ESS where it is known, else the realised one."""
        return self.expected_ess if self.expected_ess == self.expected_ess else self.realised_ess

    @property
    def suspicious(self) -> bool:
        """Whether the mean weight is further off than chance has it."""
        return self.p_value < SUSPICIOUS  # NaN compares false

    @property
    def least_ess(self) -> float:
        """The bar: 1 % of the rows, and 100 rows."""
        return max(LEAST_ROWS, LEAST_SHARE * self.n)


def refusal(
    sample: Sample,
    *,
    actions: ArrayLike | None = None,
    pmfs: tuple[ArrayLike, ArrayLike] | None = None,
) -> str | None:
    """Why this log cannot tell the value of this policy, in words, and what would mend it; None if it can.

    Refused if more than 0.1 % of what pi does is unsupported, or if the ESS is below 1 % of the rows or below 100.
    Without pmfs in the log the realised ESS must do, and the words say so.

    The remedy is the smallest share eps such that mu' = (1 - eps) mu + eps / K would bring the expected ESS of as
    many rows to the bar: exactly, if the pmfs are given; otherwise a share that is proved to suffice, see
    `sufficient_exploration`.

    Args:
        sample: n rows.
        actions: K, the number of actions to choose from, one for all rows or [n]. Without it (and without pmfs) the
            remedy has no figure.
        pmfs: (pi, mu), [n, K] each: the probabilities of the same actions, 0 for actions that a row does not have.

    >>> from simulator.sample import Sample
    >>> rows = 1000
    >>> rare = Sample.of([0.0] * rows, [0.998] * rows, [0.0] * rows, unsupported=[0.0] * rows, expected_square=[500.0] * rows)
    >>> print(refusal(rare, actions=2))
    expected effective sample size 2 of 1000 rows, below 100: ... a uniform share of 19.7 % ...

    Raises:
        NotIdentifiable: there are no rows.
        ValueError: pmfs or actions do not fit the sample.
    """
    overlap = Overlap.of(sample)
    reasons = []
    if overlap.unsupported > MOST_UNSUPPORTED:
        reasons.append(
            f"{overlap.unsupported:.2%} of what the policy does is never done by the log's policy"
            f" (more than {MOST_UNSUPPORTED:.1%})"
        )
    if overlap.ess < overlap.least_ess:
        known = overlap.expected_ess == overlap.expected_ess
        reasons.append(
            f"{'expected' if known else 'realised'} effective sample size {overlap.ess:.3g} of {overlap.n} rows,"
            f" below {overlap.least_ess:.6g}"
            + (
                ""
                if known
                else " (the log has no pmfs to tell the expected one, which may be lower)"
            )
        )
    if not reasons:
        return None
    return "; ".join(reasons) + ": " + _remedy(sample, overlap.least_ess, actions, pmfs)


def needed_exploration(pi: ArrayLike, mu: ArrayLike, least_ess: float) -> float | None:
    """The smallest eps such that mu' = (1 - eps) mu + eps / K has an expected ESS of at least `least_ess` rows.

    Args:
        pi: [n, K].
        mu: [n, K]. K of a row is the number of actions that have a probability above 0 in either.
        least_ess: in rows.

    Returns:
        In [0, 1]; None if no share would do: then it takes more rows.

    >>> round(needed_exploration([[1.0, 0.0]] * 100, [[0.0, 1.0]] * 100, 10.0), 6)  # 1 / (eps / 2) <= 10
    0.2
    >>> needed_exploration([[1.0, 0.0]] * 100, [[0.0, 1.0]] * 100, 51.0)  # uniform gives 50

    Raises:
        ValueError: shapes differ or are not [n, K], or a row has no action.
    """
    target, logged = np.asarray(pi, np.float64), np.asarray(mu, np.float64)
    if target.ndim != 2 or target.shape != logged.shape or not target.size:
        raise ValueError(f"pi {target.shape} and mu {logged.shape} must both be [n, K]")
    known = (target > 0) | (logged > 0)
    actions = known.sum(axis=1, keepdims=True)
    if not actions.all():
        raise ValueError("a row has no action with a probability above 0")
    used = target > 0
    square, mu_used = target[used] ** 2, logged[used]
    uniform = np.broadcast_to(1 / actions, target.shape)[used]
    n = len(target)

    def mean_square(eps: float) -> float:
        with np.errstate(divide="ignore"):  # eps = 0, and an action that mu never takes
            return float((square / ((1 - eps) * mu_used + eps * uniform)).sum()) / n

    return _least_share(mean_square, n / least_ess)


def sufficient_exploration(
    sample: Sample, actions: ArrayLike, least_ess: float
) -> tuple[float | None, bool]:
    """An eps that is proved to suffice, from the sample's columns alone; the smallest needed may be smaller.

    With S_t = sum pi^2 / mu over supported actions, u_t the unsupported mass and K_t actions, the mixture's
    sum of pi^2 / mu' is at most

        1 / ((1 - eps) / S_t + eps / (K_t (1 - u_t)^2))  +  K_t u_t^2 / eps.

    The first term: pi^2 / (a + b) is the parallel sum of pi^2 / a and pi^2 / b, and the sum of parallel sums is at
    most the parallel sum of the sums; sum pi^2 <= (1 - u)^2. It is exact for a pi that takes one action. Without the
    columns, K_t / eps is all that can be proved.

    Args:
        sample: n rows.
        actions: K, one number or [n].
        least_ess: in rows.

    Returns:
        The share in [0, 1], or None if this bound proves none to suffice; and whether the columns were known.

    >>> from simulator.sample import Sample
    >>> sample = Sample.of([0.0] * 100, [1.0] * 100, [0.0] * 100, unsupported=[1.0] * 100, expected_square=[0.0] * 100)
    >>> eps, known = sufficient_exploration(sample, 2, 10.0)
    >>> round(eps, 6), known
    (0.2, True)

    Raises:
        ValueError: a number of actions is below 1 or there are not [n] of them.
    """
    n = len(sample)
    k = np.asarray(actions, np.float64)
    if k.shape not in ((), (n,)) or not (k >= 1).all():  # NaN compares false
        raise ValueError(f"actions: {k.shape}, expected one number >= 1, or {n} of them")
    s, u = sample.expected_square, sample.unsupported
    known = bool(np.isfinite(s).all() and np.isfinite(u).all())
    if not known:
        k_mean = float(k.mean())
        return _least_share(lambda eps: k_mean / eps if eps > 0 else inf, n / least_ess), False
    # Both are 0 in a row without supported actions, which adds nothing.
    seen = (1 - u) ** 2 * k

    def mean_square(eps: float) -> float:
        below = (1 - eps) * seen + eps * s
        supported = np.divide(s * seen, below, out=np.zeros(n), where=below > 0)
        unsupported = k * u * u / eps if eps > 0 else np.where(u > 0, inf, 0.0)
        return float((supported + unsupported).mean(dtype=np.float64))

    return _least_share(mean_square, n / least_ess), True


def _least_share(mean_square: Callable[[float], float], most: float) -> float | None:
    """The smallest eps in [0, 1] where a convex function is at most `most`; None if it nowhere is."""
    if mean_square(0.0) <= most:
        return 0.0
    low, high = 0.0, 1.0
    if mean_square(1.0) > most:
        # It may still dip below in between. Thirds, until a point is found or nothing is left: convex, so one dip.
        left, right = 0.0, 1.0
        for _ in range(2 * _HALVINGS):
            first, second = left + (right - left) / 3, right - (right - left) / 3
            at_first, at_second = mean_square(first), mean_square(second)
            if min(at_first, at_second) <= most:
                high = first if at_first <= most else second
                break
            if at_first < at_second:
                right = second
            else:
                left = first
        else:
            return None
    for _ in range(_HALVINGS):  # above `most` at low, at most that at high
        middle = (low + high) / 2
        if mean_square(middle) <= most:
            high = middle
        else:
            low = middle
    return high


def _remedy(
    sample: Sample,
    least_ess: float,
    actions: ArrayLike | None,
    pmfs: tuple[ArrayLike, ArrayLike] | None,
) -> str:
    bar = f"an expected effective sample size of {least_ess:.6g}"
    if pmfs is not None:
        if len(np.asarray(pmfs[0])) != len(sample):
            raise ValueError(f"pmfs of {len(np.asarray(pmfs[0]))} rows for {len(sample)}")
        eps = needed_exploration(*pmfs, least_ess)
        if eps is None:
            return f"no uniform share brings as many rows to {bar}; log more rows"
        return f"logging with a uniform share of {_percent(eps)} would bring as many rows to {bar}"
    if actions is None:
        return "log with a uniform share over all actions"
    eps, known = sufficient_exploration(sample, actions, least_ess)
    if eps is None:
        return f"no uniform share is proved to bring as many rows to {bar}; log more rows"
    return (
        f"logging with a uniform share of {_percent(eps)} is enough to bring as many rows to {bar}"
        + (" (less may do" if known else " (whatever mu is; less may do")
        + ": the rows tell a bound, not the pmfs)"
    )


def _percent(share: float) -> str:
    """Rounded up, to a tenth of a percent, so that what is said suffices; any share above 0 mends missing support."""
    return f"{max(1.0, np.ceil(share * 1000 - 1e-5)) / 10:.1f} %"


def _z(sample: Sample, w: Column) -> float:
    """(mean w - its expectation) / its standard error."""
    n = len(w)
    variance = np.subtract(
        1, sample.unsupported, dtype=np.float64
    )  # in place from here on: at 10 million rows a column is 80 MB
    np.square(variance, out=variance)
    np.subtract(sample.expected_square, variance, out=variance)  # of each w, before its draw
    if np.isfinite(variance).all():
        off = float(w.mean()) - (1 - float(sample.unsupported.mean(dtype=np.float64)))
        spread = float(np.maximum(variance, 0.0, out=variance).sum())
        if sample.expected_square.dtype == np.float32:  # what weights near 1 vary by is lost in it
            spread += _NARROW * float(sample.expected_square.sum(dtype=np.float64))
        error = sqrt(spread) / n
    else:
        off = float(w.mean()) - 1
        error = float(w.std(ddof=1)) / sqrt(n) if n > 1 else nan
    if abs(off) < 1e-9:  # rounding: pi = mu has no error at all
        return 0.0
    return off / error if error != 0 else inf if off > 0 else -inf
