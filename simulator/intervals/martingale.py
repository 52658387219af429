"""Adaptively weighted rows: the normal interval, mended for a log whose policy learned while it logged.

Hadad, Hirshberg, Zhan, Wager & Athey (2021), "Confidence intervals for policy evaluation in adaptive experiments"
(arXiv:1911.02768); Zhan, Hadad, Hirshberg & Athey (2021), "Off-Policy Evaluation via Adaptive Weighting with Data from
Contextual Bandits" (arXiv:2106.02029), where these are the non-contextual StableVar weights.

The trouble. Let Gamma_t be row t's contribution. However mu_t came about, E[Gamma_t | past] is the value, so the sum
of Gamma_t - value is a martingale; but its variance depends on where learning went (a policy that gave up on pi's
action early has huge late weights), and then the mean is no bell curve. The cure: weights h_t, known before row t is
drawn, that even the variance out,

    Q = sum h_t Gamma_t / sum h_t,    V = sum h_t^2 (Gamma_t - Q)^2 / (sum h_t)^2,    Q -+ z sqrt(V).
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

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

    Column = NDArray[np.float64]

# Rows that h_t looks back on: enough to average over contexts, few enough to follow a policy that learns.
_WINDOW = 100


def martingale(evidence: Evidence, alpha: float = 0.05) -> ConfidenceInterval:
    """Q -+ z sqrt(V), with h_t = 1 / sqrt(mean of `expected_square` over the 100 rows before t); 0 for the first row.

    Why not row t's own expected_square: it is known before the draw, but it depends on row t's context. Where
    contexts with a high reward have high weights, h_t would favour one kind of context, and Q would be
    the value on another mix of contexts than the log's. The rows before t know nothing of row t's context.

    Assumes that contexts and rewards are independent draws of one law, given which mu_t may depend on all before it;
    that rows have the value as conditional mean (IPS; doubly robust, if q for row t was learned before t); that h_t^2
    times row t's conditional variance settles (mu_t changes slowly against 100 rows, and exploration does not vanish
    faster than 1/t). Coverage is asymptotic. It is an interval for the frozen pi, not for the path of the learner.

    Fails where rare mass was not met, as the normal interval does; where contexts drift, Q weighs the times by h_t,
    not alike.

    >>> from simulator.sample import Sample
    >>> sample = Sample.of([0.0, 0.0, 1.0, 0.0, 1.0], [0.5] * 5, [0.5] * 5, expected_square=np.ones(5))
    >>> interval = martingale(Evidence.ips(sample, (0.0, 1.0)))
    >>> (interval.low + interval.high) / 2  # evenly weighted, without the first
    0.5

    Raises:
        NotIdentifiable: rows share decisions; fewer than 3 rows; the log has no pmfs (in a row at least); 100 rows together have no
            supported mass.
        ValueError: alpha is not in (0, 1), or the sample is missing.
    """
    check_alpha(alpha)
    rows = evidence.rows
    check_independent(evidence, "martingale")
    check_rows(rows, 3)
    h = _weights(evidence.need_sample().expected_square)
    total = float(h.sum())
    centre = float(h @ rows) / total
    deviation = h * (rows - centre)
    reach = float(ndtri(1 - alpha / 2)) * sqrt(float(deviation @ deviation)) / total
    return ConfidenceInterval(
        centre - reach, centre + reach, alpha, "adaptively weighted (StableVar)"
    )


def _weights(expected_square: NDArray[np.floating]) -> Column:
    """h, [n]."""
    if not np.isfinite(expected_square).all():
        raise NotIdentifiable(
            "the log has no pmfs (or not in all rows), so the variance that a row had before its draw is not known"
        )
    n = len(expected_square)
    before = np.arange(1, n)  # rows before each row but the first
    # Sums over a window as differences of cumulated sums: they are of one sign, so little is lost but where a
    # row outweighs later windows 1e12 times.
    sums = np.concatenate(([0.0], np.cumsum(expected_square, dtype=np.float64)))
    first = np.maximum(0, before - _WINDOW)
    mean = (sums[before] - sums[first]) / (before - first)
    if not (mean > 0).all():
        raise NotIdentifiable("there are rows without any action that both policies may take")
    h: Column = np.concatenate(([0.0], 1 / np.sqrt(mean)))
    return h
