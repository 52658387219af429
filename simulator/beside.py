"""Which interval stands beside an estimate, and which would not hold there.

Where nobody asks for one by name:
- IPS of a frozen policy on a log with pmfs: empirical likelihood, which knows what the log could not have shown;
- where decisions have several rows, as slots of a slate: Student's t over decisions, see `simulator.decisions`. All other
  intervals take rows for independent, or for differences of a martingale, and slot 1's reward tells of slot 2's;
- everything else: Student's t on the estimator's influence. For a policy that learns from the log the estimate is of the mean
  value along its path, and the differences between rows and value are a martingale; their spread around one mean is at
  least their spread around the path, so the interval errs towards wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.estimators import DM, DR, IPS
from simulator.intervals import INTERVALS, ConfidenceInterval, Evidence
from simulator.ips import NotIdentifiable
from simulator.targets import FROZEN

if TYPE_CHECKING:
    from simulator.estimators import Estimator
    from simulator.sample import Column, Sample

# They take weights, rewards, or a bound on w r: what they say is of the value as IPS estimates it.
_OF_IPS = frozenset(
    {"clopper_pearson", "confidence_sequence", "cressie_read", "empirical_bernstein"}
)
# What holds along a path of learning; each other's docstring says that it does not. bootstrap says so itself.
_OF_PATHS = frozenset({"bootstrap", "confidence_sequence", "normal"})
# Of the bootstrap's draws, so that one log has one interval.
_SEED = 1


def interval_beside(
    estimator: Estimator[Sample],
    sample: Sample,
    influence: Column,
    estimand: str,
    reward_range: tuple[float, float],
    alpha: float,
    method: str | None = None,
) -> ConfidenceInterval:
    """The interval of an estimate.

    Args:
        estimator: whose estimate it is.
        sample: its rows, n.
        influence: of the estimator on these rows, [n].
        estimand: "frozen" or "trained_on_log".
        reward_range: (lowest, highest) reward that a decision can have.
        alpha: in (0, 1), the share of logs whose interval misses the value.
        method: a name in `INTERVALS`; None for what suits.

    Raises:
        NotIdentifiable: this method does not hold here, or the log lacks what it needs; the message says what would do.
        ValueError: there is no such interval.
    """
    scatter_tells(estimator)
    learned = estimand != FROZEN
    generator = np.random.default_rng(_SEED)
    evidence = Evidence(influence, sample, reward_range, None, learned, generator)
    shared = sample.decision is not None
    if method is not None:
        _check(method, estimator, learned=learned)
        if method in _OF_IPS:
            evidence = Evidence.ips(sample, reward_range, adaptive=learned)
        return INTERVALS[method](evidence, alpha)
    if isinstance(estimator, IPS) and not learned and not shared:
        try:
            return INTERVALS["cressie_read"](evidence, alpha)
        except NotIdentifiable:
            pass  # without pmfs; the next one says what it is
    return INTERVALS["normal"](evidence, alpha)


def scatter_tells(estimator: Estimator[Sample]) -> None:
    """Raises NotIdentifiable where the rows' scatter says nothing of the estimate's error: the direct method's error is its model's. Its
    Student interval held the value in 12 to 15% of simulated logs instead of 95% (frozen policy, uniform log, 600 rows).
    """
    if isinstance(estimator, DM) or getattr(estimator, estimator.tuned or "", None) == 0:
        raise NotIdentifiable(
            f"{estimator.name} is as wrong as its model, which its rows do not tell; take dr for an interval"
        )


def rests_on_range(method: str) -> bool:
    """Whether an interval, by what it calls its method, holds only if no reward can be outside the range."""
    return method.startswith(("Clopper-Pearson", "confidence sequence", "empirical"))


def _check(method: str, estimator: Estimator[Sample], *, learned: bool) -> None:
    if method not in INTERVALS:
        raise ValueError(f"no interval {method!r}; known are {', '.join(sorted(INTERVALS))}")
    if learned and method not in _OF_PATHS:
        raise NotIdentifiable(
            f"{method} is for a policy that stays as it is, and this one learned on the way; take normal, or "
            "confidence_sequence with ips"
        )
    if method in _OF_IPS and not isinstance(estimator, IPS):
        raise NotIdentifiable(f"{method} is an interval of ips, not of {estimator.name}")
    if method == "martingale" and type(estimator) not in (IPS, DR):
        raise NotIdentifiable(
            f"martingale needs rows whose mean is the value whatever came before: those of ips and dr, not of {estimator.name}"
        )
