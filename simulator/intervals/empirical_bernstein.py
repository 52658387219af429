"""Maurer & Pontil (2009), "Empirical Bernstein Bounds and Sample Variance Penalization", theorem 4, from both sides.

For independent rows in [0, 1] with sample variance V_n, with probability at least 1 - delta,

    E[mean] <= mean + sqrt(2 V_n ln(2/delta) / n) + 7 ln(2/delta) / (3 (n - 1)).
"""

from __future__ import annotations

from math import isfinite, log, sqrt

from simulator.intervals.interval import (
    ConfidenceInterval,
    Evidence,
    check_alpha,
    check_independent,
    check_rows,
)
from simulator.ips import NotIdentifiable

# How far rounding may carry a row over its stated range, as a share of the range.
_ROUNDING = 1e-9


def empirical_bernstein(evidence: Evidence, alpha: float = 0.05) -> ConfidenceInterval:
    """The theorem with delta = alpha/2 for each side, scaled to `row_range`, clipped to the reward range if it is known.

    Assumes that rows are independent (not of one law) and that `row_range` bounds what each could have been, whether
    or not it was met. Its coverage is then guaranteed at every n.

    Fails, by being vacuous, where the range is wide: the last term is 7 w_max ln(4/alpha) / (3 n), so at w_max = 400
    and alpha = .05 it takes 4,000 rows to come below a half width of 1. Not for adaptive logs, whose rows are not
    independent: `confidence_sequence` is the same idea for those.

    >>> import numpy as np
    >>> interval = empirical_bernstein(Evidence(np.zeros(1001), row_range=(0.0, 1.0)))
    >>> round(interval.high, 5)  # no variance: 7 ln(80) / 3000
    0.01022

    Raises:
        NotIdentifiable: rows share decisions; fewer than 2 rows, no finite range is known, or a row is outside it.
        ValueError: alpha is not in (0, 1).
    """
    check_alpha(alpha)
    rows = evidence.rows
    check_independent(evidence, "empirical_bernstein")
    check_rows(rows, 2)
    if evidence.row_range is None:
        raise NotIdentifiable(
            "how large a row could have been is not known: the log has no pmfs to tell the largest weight"
        )
    low, high = evidence.row_range
    width = high - low
    if not isfinite(width):
        raise NotIdentifiable(
            "a row could have been of any size: the policy takes actions that the log's policy never could"
        )
    met = float(rows.min()), float(rows.max())
    if met[0] < low - _ROUNDING * width or met[1] > high + _ROUNDING * width:
        raise NotIdentifiable(
            f"rows from {met[0]} to {met[1]} were met, outside {evidence.row_range}: the logged propensities are not what "
            "the pmfs say (rankd validate), or the range is not that of all rows"
        )
    n = len(rows)
    ln = log(4 / alpha)
    reach = sqrt(2 * float(rows.var(ddof=1)) * ln / n) + 7 * width * ln / (3 * (n - 1))
    mean = float(rows.mean())
    ends = evidence.reward_range or (low, high)
    bottom, top = (min(max(end, ends[0]), ends[1]) for end in (mean - reach, mean + reach))
    return ConfidenceInterval(bottom, top, alpha, "empirical Bernstein")
