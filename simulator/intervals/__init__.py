"""Confidence intervals for a policy's value, by name.

Which to take: `cressie_read` for a frozen policy on a log with pmfs; `confidence_sequence` to look at while the log
grows, or to be sure; `martingale` for an adaptive log without rare actions; `clopper_pearson` for clicks on a uniform
log. `normal`, `bootstrap` and `empirical_bernstein` are what others report.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from simulator.intervals.bootstrap import bootstrap
from simulator.intervals.clopper_pearson import clopper_pearson
from simulator.intervals.confidence_sequence import (
    ConfidenceSequence,
    confidence_sequence,
    sequence,
)
from simulator.intervals.cressie_read import cressie_read
from simulator.intervals.empirical_bernstein import empirical_bernstein
from simulator.intervals.interval import ConfidenceInterval, Evidence, IntervalMethod
from simulator.intervals.martingale import martingale
from simulator.intervals.normal import normal

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERVALS: Mapping[str, IntervalMethod] = MappingProxyType(
    {
        "bootstrap": bootstrap,
        "clopper_pearson": clopper_pearson,
        "confidence_sequence": confidence_sequence,
        "cressie_read": cressie_read,
        "empirical_bernstein": empirical_bernstein,
        "martingale": martingale,
        "normal": normal,
    }
)

__all__ = [
    "INTERVALS",
    "ConfidenceInterval",
    "ConfidenceSequence",
    "Evidence",
    "IntervalMethod",
    "sequence",
]
