"""`simulator.empirical_likelihood`, with the range of possible weights taken from the sample's pmf columns."""

from __future__ import annotations

import numpy as np

from simulator.empirical_likelihood import empirical_likelihood_interval
from simulator.intervals.interval import (
    ConfidenceInterval,
    Evidence,
    check_alpha,
    check_independent,
    check_rows,
)
from simulator.ips import Ips, NotIdentifiable


def cressie_read(evidence: Evidence, alpha: float = 0.05) -> ConfidenceInterval:
    """The empirical-likelihood interval of Karampatziakis, Langford & Mineiro (2020), for the value itself.

    It looks at weights and rewards, not at `rows`: whatever the estimator, this is the interval of the value.
    What it assumes and when it fails is told there; in short: each row's mu was fixed before its draw, pi before the
    first row, coverage is asymptotic, one look only. It is the one to take where actions are rare.

    >>> from simulator.sample import Sample
    >>> ones = np.ones(100)
    >>> sample = Sample.of(reward=0 * ones, mu=ones, pi=ones, w_max=ones, w_min=ones)
    >>> round(cressie_read(Evidence.ips(sample, (0.0, 1.0))).high, 2)
    0.03

    Raises:
        NotIdentifiable: rows share decisions; no rows; the log has no pmfs to tell the range of weights; pi takes actions that mu never
            could; weights do not average 1 by any reweighting.
        ValueError: alpha is not in (0, 1); sample or reward range missing; a reward or weight is out of its range.
    """
    check_alpha(alpha)
    sample = evidence.need_sample()
    reward_range = evidence.need_reward_range()
    check_independent(evidence, "cressie_read")
    check_rows(sample.reward, 1)
    w_min, w_max = float(sample.w_min.min()), float(sample.w_max.max())
    if np.isnan(w_min) or np.isnan(w_max):
        raise NotIdentifiable(
            "the log has no pmfs (or not in all rows), so which weights were possible is not known; those that were "
            "met do not tell"
        )
    # Weights average 1, so the value moves with the rewards. Counted from the least reward on, sums of squares keep their digits
    # where rewards lie far from 0.
    least, greatest = reward_range
    ips = Ips.of(sample.weight, sample.reward - least)
    found = empirical_likelihood_interval(ips, w_min, w_max, (0.0, greatest - least), alpha)
    return ConfidenceInterval(found.low + least, found.high + least, alpha, found.method)
