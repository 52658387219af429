"""A confidence sequence: valid at all times at once, so one may look after every row and stop when one pleases.

Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro (2022), "Anytime-valid off-policy inference for contextual bandits"
(arXiv:2210.10768): the empirical-Bernstein sequence for time-varying values; its boundary by a discrete mixture, as in
Howard, Ramdas, McAuliffe & Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences"
(arXiv:1810.08240).

Rewards are scaled to [0, 1]. xi_t = w_t r_t >= 0 has conditional mean nu_t, the value of pi at time t. Let xi^_t-1 in
[0, 1] be any forecast made before row t, S_t = sum (xi_i - nu_i), V_t = sum (xi_i - xi^_i-1)^2. By the inequality of
Fan, Grama & Liu (2015), exp(l y - psi(l) y^2) <= 1 + l y for y >= -1, 0 <= l < 1 and psi(l) = -log(1 - l) - l, so for
each l

    M_t(l) = exp(l S_t - psi(l) V_t)

is a nonnegative supermartingale from 1, and so is its average over a grid of l. By Ville's inequality, the average
never reaches 1/a but with probability a. As it grows with S_t, this is S_t < u(V_t) at all t, or

    mean of nu_i over i <= t   >   mean of xi_i - u(V_t) / t.

The upper end is the same for the mirrored reward 1 - r, whose value is 1 - nu_t (or less, where mu lacks support).
Only one tail matters in each: weights may be as large as they please, and no w_max is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np

from simulator.intervals.interval import (
    ConfidenceInterval,
    Evidence,
    check_alpha,
    check_independent,
    check_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64]

# The grid of l: steps of sqrt(2) from .7 to 1e-6. The best l for V is about sqrt(2 log(1/a) / V), so it
# serves V from 1 to 1e12; elsewhere the bound is wide, not wrong.
_L = 2.0 ** -(np.arange(1, 41) / 2)
_PSI = -np.log1p(-_L) - _L
# u is tabulated at V of these steps and taken at the next V above: wider by at most 0.5 %, never too narrow.
_STEP = 1.01
_LEAST_V = 0.01
_NEWTON = 4  # a fifth step changes no more than the last digits


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """low[t], high[t], [n] each, in reward units: for the mean, over the first t + 1 rows, of pi's value at each."""

    low: Column
    high: Column
    alpha: float

    def fixed_value(self) -> ConfidenceSequence:
        """The running intersection: narrower, if pi's value is one and the same at all times (contexts do not drift).

        Empty intersections (low > high) say that it is not, or that propensities are wrong.
        """
        return ConfidenceSequence(
            np.maximum.accumulate(self.low), np.minimum.accumulate(self.high), self.alpha
        )


def confidence_sequence(evidence: Evidence, alpha: float = 0.05) -> ConfidenceInterval:
    """The sequence at the last row, which is an interval that may be looked at after any row.

    Assumes that propensities are those played, that pi_t and mu_t were fixed before row t was drawn, and that rewards
    are in their range. Nothing else: mu may learn, pi may change, contexts may drift or depend on the past, weights
    may be of any size; its coverage is guaranteed. Where mu lacks support it stays valid, for what pi
    does there may have any reward within the range.

    The price: about twice the width of a normal interval that is looked at once, more where few rows carry the
    sums. Fails only if the assumptions do. Not made narrower by a model of rewards.

    >>> from simulator.sample import Sample
    >>> ones = np.ones(1000)
    >>> interval = confidence_sequence(Evidence.ips(Sample.of(ones / 2, ones, ones), (0.0, 1.0)))
    >>> round(interval.low, 2), round(interval.high, 2)  # a reward that does not vary
    (0.49, 0.51)

    Raises:
        NotIdentifiable: rows share decisions; there are no rows.
        ValueError: alpha is not in (0, 1); sample or reward range missing; a reward is out of its range.
    """
    sample = evidence.need_sample()
    check_independent(evidence, "confidence_sequence")
    check_rows(sample.reward, 1)
    found = sequence(sample.weight, sample.reward, evidence.need_reward_range(), alpha)
    return ConfidenceInterval(
        float(found.low[-1]), float(found.high[-1]), alpha, "confidence sequence"
    )


def sequence(
    weight: Column, reward: Column, reward_range: tuple[float, float], alpha: float = 0.05
) -> ConfidenceSequence:
    """Both ends at each row, alpha/2 for each side, clipped to the reward range.

    Args:
        weight: w, [n], at least 0, in log order.
        reward: r, [n].
        reward_range: (lowest, highest).
        alpha: in (0, 1): the share of logs for which an end is wrong at any time.

    >>> found = sequence(np.array([2.0, 0.0, 2.0]), np.array([1.0, 0.0, 1.0]), (0.0, 1.0))
    >>> found.low.tolist(), found.high.tolist()  # 3 rows tell nothing
    ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])

    Raises:
        ValueError: alpha is not in (0, 1); lengths differ; a weight is negative or not finite; a reward is out of
        range.
    """
    check_alpha(alpha)
    r_min, r_max = reward_range
    if weight.ndim != 1 or weight.shape != reward.shape:
        raise ValueError(f"weights {weight.shape} and rewards {reward.shape} must both be [n]")
    if not ((weight >= 0) & np.isfinite(weight)).all():
        raise ValueError("a weight is negative or not finite")
    if not ((reward >= r_min) & (reward <= r_max)).all():
        raise ValueError(f"a reward is outside ({r_min}, {r_max})")
    if r_min == r_max:
        return ConfidenceSequence(reward.copy(), reward.copy(), alpha)
    scale = r_max - r_min
    scaled = (reward - r_min) / scale
    low = _lower(weight * scaled, alpha / 2)
    high = 1 - _lower(weight * (1 - scaled), alpha / 2)
    return ConfidenceSequence(r_min + scale * low, r_min + scale * high, alpha)


def _lower(xi: Column, a: float) -> Column:
    """Lower ends, in [0, 1]: with probability 1 - a, none is above the running mean of xi's conditional means."""
    t = np.arange(1.0, len(xi) + 1)
    sums = np.cumsum(xi)
    # The mean of the rows before, with one row of 1/2 to begin with; a value is at most 1, so is its forecast.
    forecast = np.minimum(1.0, (0.5 + np.concatenate(([0.0], sums[:-1]))) / t)
    v = np.cumsum((xi - forecast) ** 2)
    low: Column = np.maximum(0.0, (sums - _boundary(v, a)) / t)
    return np.minimum(low, 1.0)


def _boundary(v: Column, a: float) -> Column:
    """u(V_t), [n], for V that does not fall: at least the S at which the average of M over the grid reaches 1/a."""
    if not len(v):
        return v
    steps = int(np.ceil(np.log(max(1.0, v[-1] / _LEAST_V)) / log(_STEP))) + 1
    grid = _LEAST_V * _STEP ** np.arange(steps + 1.0)
    goal = log(len(_L) / a)  # of the sum, not the average
    # At this S a single l reaches the goal alone. The logarithm of the sum is convex in S and rises, so Newton's steps
    # come down from the right and never pass the root: u is valid wherever they stop.
    cost = np.outer(grid, _PSI)  # [grid, l]
    s = ((goal + cost) / _L).min(axis=1)
    for _ in range(_NEWTON):
        exponent = s[:, None] * _L - cost
        top = exponent.max(axis=1)
        terms = np.exp(exponent - top[:, None])
        total = terms.sum(axis=1)
        s -= (top + np.log(total) - goal) / ((terms @ _L) / total)
    boundary: Column = s[np.searchsorted(grid, v)]
    return boundary
