"""Student's t: the mean and its standard error, as if rows were normal. Student (1908), "The Probable Error of a Mean"."""

from __future__ import annotations

from math import sqrt

from scipy.special import stdtrit

from simulator.decisions import standard_error
from simulator.intervals.interval import (
    ConfidenceInterval,
    Evidence,
    check_alpha,
    check_rows,
    deviation,
)
from simulator.ips import NotIdentifiable


def normal(evidence: Evidence, alpha: float = 0.05) -> ConfidenceInterval:
    """mean -+ t s / sqrt(n), with t the 1 - alpha/2 quantile of n - 1 degrees of freedom. Where rows share decisions, the
    standard error is that of sums within decisions, of which there are G, and t has G - 1: see `simulator.decisions`.

    Assumes that rows, or decisions, are independent with one mean and a finite variance, and that n is large enough for the central
    limit theorem. What is large enough depends on the largest weight: sum w^2 must not hang on a few rows.

    Fails, by covering too seldom, where pi wants an action that mu hardly ever took: until it shows up, neither the
    mean nor the standard error knows of it. `cressie_read` is made for that. On adaptive logs rows may
    keep their mean and lose their bell shape: see `martingale`. It is not clipped to the reward range.

    >>> import numpy as np
    >>> interval = normal(Evidence(np.array([0.0, 1.0, 0.0, 1.0])))
    >>> round(interval.low, 3), round(interval.high, 3)
    (-0.419, 1.419)

    Raises:
        NotIdentifiable: fewer than 2 rows, or decisions.
        ValueError: alpha is not in (0, 1).
    """
    check_alpha(alpha)
    rows = evidence.rows
    check_rows(rows, 2)
    n = len(rows)
    mean = float(rows.mean())
    decisions = evidence.decisions
    if decisions is not None:
        error, count = standard_error(rows, decisions)
        if count < 2:
            raise NotIdentifiable(f"{n} rows of one decision: this interval needs at least 2")
        reach = float(stdtrit(count - 1, 1 - alpha / 2)) * error
        return ConfidenceInterval(mean - reach, mean + reach, alpha, "Student t over decisions")
    reach = float(stdtrit(n - 1, 1 - alpha / 2)) * deviation(rows) / sqrt(n)
    return ConfidenceInterval(mean - reach, mean + reach, alpha, "Student t")
