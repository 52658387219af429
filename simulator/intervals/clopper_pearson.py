"""Clopper & Pearson (1934), "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial".

With rewards of two values and weights that are 0 or w0, the log is n coin tosses: a success is a row with weight w0
and the higher reward, its probability p is value / w0 (rewards scaled to 0 and 1), and the interval for p is exact.
"""

from __future__ import annotations

from math import inf, isnan
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv

from simulator.intervals.interval import (
    ConfidenceInterval,
    Evidence,
    check_alpha,
    check_independent,
    check_rows,
)
from simulator.ips import NotIdentifiable

if TYPE_CHECKING:
    from numpy.typing import NDArray

# How far rounding may carry a weight or a scaled reward off its value, as a share: w_max may have been kept in 4 bytes, which is 1.2e-7.
_ROUNDING = 1e-6


def clopper_pearson(evidence: Evidence, alpha: float = 0.05) -> ConfidenceInterval:
    """w0 times the interval for a binomial probability, scaled back to the reward range and clipped to it.

    Assumes that rows are independent and that every row could have had weight w0: a deterministic policy on a
    uniform log over one number of actions. Then it covers at least 1 - alpha at every n.

    Rewards and weights of more values are taken too if the log's pmfs tell w_max: w0 is w_max, and successes are sum
    w r / w_max, a fraction. That is what VW's estimators do (with the largest w r *met* for w_max, and n / w_max
    tosses, which is a little too sure of itself). No proof covers it; as no law on [0, w_max] is more spread than the
    coin's, it errs on the wide side, the more the further weights are from 0 and w_max. The method's name then says
    "bounded".

    Fails on adaptive logs, whose rows are not independent. Needs full support.

    Example: no click in 10 rows, each with a propensity of 1/2.

    >>> from simulator.sample import Sample
    >>> sample = Sample.of(reward=[0.0] * 10, mu=[0.5] * 10, pi=[1.0, 0.0] * 5)
    >>> round(clopper_pearson(Evidence.ips(sample, (0.0, 1.0))).high, 4)  # 2 (1 - .025^(1/10))
    0.617

    Raises:
        NotIdentifiable: rows share decisions; no rows; pi takes actions that mu never could; rewards or weights are of more than two
            values and w_max is unknown; no weight is above 0 and w_max is unknown.
        ValueError: alpha is not in (0, 1); sample or reward range missing; a reward or a weight is out of range.
    """
    check_alpha(alpha)
    sample = evidence.need_sample()
    r_min, r_max = evidence.need_reward_range()
    check_independent(evidence, "clopper_pearson")
    check_rows(sample.reward, 1)
    if r_min == r_max:
        return ConfidenceInterval(r_min, r_max, alpha, "Clopper-Pearson")
    weight = sample.weight
    scaled = (sample.reward - r_min) / (r_max - r_min)
    possible = float(sample.w_max.max())  # NaN if one row's is
    if possible == inf:
        raise NotIdentifiable(
            "the policy takes actions that the log's policy never could, so their reward is unknown"
        )
    w0 = float(weight.max()) if isnan(possible) else possible
    if w0 == 0:
        raise NotIdentifiable("no row has a weight above 0, and the log has no pmfs to tell w_max")
    if weight.max() > w0 * (1 + _ROUNDING):
        raise NotIdentifiable(
            f"a weight of {weight.max()} was met, above w_max {w0}: the logged propensities are not what the pmfs say "
            "(rankd validate)"
        )
    tosses = _two_values(scaled) and _two_values(weight / w0)
    if not tosses and isnan(possible):
        raise NotIdentifiable(
            "weights are not 0 or one w0, or rewards not of two values, and the log has no pmfs to tell w_max: "
            "this is no binomial"
        )
    n = len(weight)
    successes = min(float(n), float(weight @ scaled) / w0)
    if tosses:
        successes = float(round(successes))
    low = float(betaincinv(successes, n - successes + 1, alpha / 2)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - alpha / 2)) if successes < n else 1.0
    bottom, top = (r_min + (r_max - r_min) * min(1.0, w0 * end) for end in (low, high))
    return ConfidenceInterval(
        bottom, top, alpha, "Clopper-Pearson" if tosses else "Clopper-Pearson (bounded)"
    )


def _two_values(share: NDArray[np.float64]) -> bool:
    """Whether each is 0 or 1."""
    return bool(np.minimum(np.abs(share), np.abs(share - 1)).max() <= _ROUNDING)
