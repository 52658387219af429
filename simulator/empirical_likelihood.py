"""A confidence interval for a policy's value that respects what the log could not have shown.

Karampatziakis, Langford & Mineiro (2020), "Empirical Likelihood for Contextual Bandits" (arXiv:1906.03323), with the
Euclidean member of the Cressie-Read family, which has a closed form in a few sums.

The idea. Take every reweighting Q of the sample under which the mean weight is 1, as it must be, and which is not too
far from the sample itself; the interval holds the values E_Q[w r] of all those. So that Q can put mass on what was not
met, the sample is extended by one row: a weight at an end of the possible range, with the worst (for the lower end) or
the best (for the upper end) possible reward. It is through this row that an action which mu hardly ever takes widens
the interval, though no realised weight tells of it.

The closed form. Let N = n + 1 rows have weight w and y = w r. Over q with sum q = 1, sum q w = 1 and
sum (N q - 1)^2 <= c, where c_w = N (1 - mean w)^2 / var w is the least that sum q w = 1 costs, E_q[y] ranges over

    mean y + b (1 - mean w)  -+  sqrt((c - c_w) s^2 / N),     b = cov(w, y) / var w,     s^2 = var y - b cov(w, y):

the regression estimate with the weight as its control variate. c is the least c_w of the extended samples plus
the squared 1 - alpha/2 quantile of Student's t with n - 1 degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from scipy.special import stdtrit

from simulator.ips import NotIdentifiable

if TYPE_CHECKING:
    from simulator.ips import Ips

# Weights that vary by less than this share of themselves (squared: 1e-5 each) are one and the same weight: below
# it their variance, a difference of two sums, has lost its digits.
_VARIANCE_FLOOR = 1e-10
# How far rounding may carry a weight or a reward over its stated end, as a share.
_ROUNDING = 1e-6
# The greatest c_w, no unit, of propensities that may be right: a mean weight sqrt(1000) = 32 standard errors off 1. Worst
# case: all that pi does is one action that mu takes with probability p. If it never shows up, c_w is about (n p)^2,
# and 32 expected rows all fail to come once in e^32 = 8e13 logs.
_IMPLAUSIBLE = 1000.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval for a policy's value, in reward units."""

    low: float
    high: float
    alpha: float  # in (0, 1): the share of logs whose interval misses the value

    method: ClassVar[str] = "empirical likelihood"

    @property
    def half_width(self) -> float:
        """Half of high - low."""
        return (self.high - self.low) / 2

    def covers(self, value: float) -> bool:
        """Whether the value lies inside, ends included."""
        return self.low <= value <= self.high


def empirical_likelihood_interval(
    ips: Ips,
    w_min: float,
    w_max: float,
    reward_range: tuple[float, float],
    alpha: float = 0.05,
) -> Interval:
    """The interval for the value of a frozen policy, from the running sums of its IPS estimate.

    It is an interval for the value, clipped to the reward range, not a margin around `ips.value`: as it uses that
    weights average 1, the IPS estimate may lie outside it.

    Assumes that rows are independent, or at least that pi was frozen before the first of them and that each row's
    mu was fixed before its draw; that propensities are those played; that [w_min, w_max] and the reward range
    really bound what could have come. Its coverage is asymptotic, not guaranteed for any one n.

    Fails, by covering too seldom, if w_max is the largest weight *met* and not the largest possible; if pi was
    chosen or trained on these rows; if one looks again and again and stops when it pleases. Where few rows
    carry the sums (rare rewards, w_max of the order of n) it errs the other way: wide, covering 97 to 100%.

    Args:
        ips: sums over n rows. With fewer than 2 the answer is the whole reward range.
        w_min: smallest possible weight, in [0, 1]: see `weight_range`.
        w_max: largest possible weight, at least 1: see `weight_range`.
        reward_range: (lowest, highest) reward that a row can have.
        alpha: in (0, 1).

    Example: on policy, no reward in 100 rows. The "rule of three" says at most 3 in 100.

    >>> from simulator import Ips
    >>> interval = empirical_likelihood_interval(Ips.of([1.0] * 100, [0.0] * 100), 1.0, 1.0, (0.0, 1.0))
    >>> interval.low, round(interval.high, 2)
    (0.0, 0.03)

    Raises:
        NotIdentifiable: there are no rows; w_max is infinite, so pi takes actions that mu never could; no
            reweighting gives a mean weight of 1, so the propensities cannot be those that were played; the range of
            weights does not hold 1, or not those that were met, so propensities and pmfs contradict each other.
        ValueError: an argument is out of its range, or a row's reward is outside the stated one.
    """
    r_min, r_max = reward_range
    _check(ips, w_min, w_max, r_min, r_max, alpha)
    if ips.n < 2:
        return Interval(r_min, r_max, alpha)
    worst = [_extend(ips, w, r_min) for w in (w_min, w_max)]
    best = [_extend(ips, w, r_max) for w in (w_min, w_max)]
    least = min(sample.c_w for sample in worst)  # c_w has no reward in it: worst and best agree
    if not least < _IMPLAUSIBLE:
        raise NotIdentifiable(
            f"weights average {ips.mean_weight:.4g} over {ips.n} rows where they must average 1: the logged "
            "propensities are not those that were played, or w_min and w_max are wrong"
        )
    c = least + float(stdtrit(ips.n - 1, 1 - alpha / 2)) ** 2
    low = min(sample.centre - sample.reach(c) for sample in worst if sample.c_w <= c)
    high = max(sample.centre + sample.reach(c) for sample in best if sample.c_w <= c)
    return Interval(_clip(low, r_min, r_max), _clip(high, r_min, r_max), alpha)


class _Extended(NamedTuple):
    """The sample and one row more."""

    rows: int  # N = n + 1
    centre: float  # mean y + b (1 - mean w)
    s2: float  # variance of y that w does not explain
    c_w: float  # distance of the nearest reweighting with mean weight 1

    def reach(self, c: float) -> float:
        """How far from the centre the value can be at distance c."""
        return sqrt((c - self.c_w) * self.s2 / self.rows)


def _extend(ips: Ips, w: float, r: float) -> _Extended:
    rows = ips.n + 1
    mean_w = (ips.w + w) / rows
    mean_y = (ips.wr + w * r) / rows
    square_w = (ips.w2 + w * w) / rows
    var_w = square_w - mean_w * mean_w
    var_y = (ips.w2r2 + w * w * r * r) / rows - mean_y * mean_y
    cov = (ips.w2r + w * w * r) / rows - mean_w * mean_y
    if var_w > _VARIANCE_FLOOR * square_w:
        slope = cov / var_w
        c_w = rows * (1 - mean_w) ** 2 / var_w
    else:  # pi = mu: nothing for the weight to explain
        slope = 0.0
        c_w = 0.0 if abs(mean_w - 1) < sqrt(_VARIANCE_FLOOR) else inf
    return _Extended(rows, mean_y + slope * (1 - mean_w), max(0.0, var_y - slope * cov), c_w)


def _check(ips: Ips, w_min: float, w_max: float, r_min: float, r_max: float, alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha}: must be in (0, 1)")
    if not (isfinite(r_min) and isfinite(r_max) and r_min <= r_max):
        raise ValueError(f"reward range ({r_min}, {r_max}): must be finite, lowest first")
    if w_max == inf:
        raise NotIdentifiable(
            "w_max is infinite: the policy takes actions that the log's policy never could, so their reward is "
            "unknown; log with some exploration over all actions"
        )
    if not (0 <= w_min <= 1 + _ROUNDING and w_max >= 1 - _ROUNDING):  # NaN compares false
        raise NotIdentifiable(
            f"weight range ({w_min}, {w_max}): must hold 1, because pi and mu both sum to 1"
        )
    if not ips.n:
        raise NotIdentifiable("there are no rows yet")
    if ips.min_weight < w_min * (1 - _ROUNDING) or ips.max_weight > w_max * (1 + _ROUNDING):
        raise NotIdentifiable(
            f"weights from {ips.min_weight} to {ips.max_weight} were met, outside ({w_min}, {w_max}): "
            "the logged propensities are not what the pmfs say (rankd validate), or the range is not that of all rows and "
            "actions (weight_range)"
        )
    slack = _ROUNDING * (r_max - r_min)
    if ips.min_reward < r_min - slack or ips.max_reward > r_max + slack:
        raise ValueError(
            f"rewards from {ips.min_reward} to {ips.max_reward} were met, outside the range ({r_min}, {r_max})"
        )


def _clip(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))
