"""What every interval takes and gives: so that a report can ask any of them by name.

Symbols as in `simulator.sample`: mu is the policy that logged, pi the one asked about, w = pi(a) / mu(a), r the reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING, Protocol

import numpy as np

from simulator.ips import NotIdentifiable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulator.sample import Sample

    Column = NDArray[np.float64]

_BLOCK = 1 << 20  # rows; 8 MB


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """Where a policy's value lies, in reward units."""

    low: float
    high: float
    alpha: float  # in (0, 1): the share of logs whose interval misses the value
    method: str  # in words, for a report

    @property
    def half_width(self) -> float:
        """Half of high - low."""
        return (self.high - self.low) / 2

    def covers(self, value: float) -> bool:
        """Whether the value lies inside, ends included."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the value; an interval takes from it what it needs, and refuses where that is missing.

    Raises:
        ValueError: rows are not [n] of finite float64, the sample has another length, or a range is not finite or not
            lowest first.
    """

    rows: Column
    """Each row's contribution, [n] in log order, in reward units: the estimate is their mean."""
    sample: Sample | None = None
    """What the rows were made of, row for row."""
    reward_range: tuple[float, float] | None = None
    """(lowest, highest) reward that a decision can have."""
    row_range: tuple[float, float] | None = None
    """(lowest, highest) contribution that a row could have had; infinite where no bound is known."""
    adaptive: bool = False
    """Whether the rows are a path of learning: a later row's mu (or pi) depends on what came before it."""
    generator: np.random.Generator | None = None
    """For intervals that draw."""
    decision: NDArray[np.intp] | None = None
    """The number of each row's decision, [n], one after the other, where there is no sample that says so; see `decisions`."""

    def __post_init__(self) -> None:
        rows = self.rows
        if rows.ndim != 1 or rows.dtype != np.float64 or not np.isfinite(rows).all():
            raise ValueError(f"rows: {rows.dtype} {rows.shape}, expected finite float64 [n]")
        if self.sample is not None and len(self.sample) != len(rows):
            raise ValueError(f"{len(rows)} rows of a sample of {len(self.sample)}")
        if self.decision is not None and len(self.decision) != len(rows):
            raise ValueError(f"{len(rows)} rows beside {len(self.decision)} numbers of decisions")
        if self.reward_range is not None and not all(map(isfinite, self.reward_range)):
            raise ValueError(f"reward range {self.reward_range}: must be finite")
        for name, bounds in (("reward", self.reward_range), ("row", self.row_range)):
            if bounds is not None and not bounds[0] <= bounds[1]:  # NaN compares false
                raise ValueError(f"{name} range {bounds}: must be lowest first")

    @classmethod
    def ips(
        cls,
        sample: Sample,
        reward_range: tuple[float, float],
        *,
        adaptive: bool = False,
        generator: np.random.Generator | None = None,
    ) -> Evidence:
        """The rows of inverse propensity scoring, w r, and the range that the log's pmfs leave them.

        >>> from simulator.sample import Sample
        >>> sample = Sample.of(reward=[1.0, 0.0], mu=[0.5, 0.5], pi=[1.0, 0.0], w_max=[2.0, 2.0])
        >>> evidence = Evidence.ips(sample, (0.0, 1.0))
        >>> evidence.rows.tolist(), evidence.row_range
        ([2.0, 0.0], (0.0, 2.0))
        """
        row_range = None
        w_max = float(sample.w_max.max(initial=0.0))  # NaN if one row's is
        if w_max == inf:
            row_range = (-inf, inf)
        elif w_max >= 0:
            low, high = reward_range
            row_range = (min(0.0, w_max * low), max(0.0, w_max * high))
        rows = sample.weight * sample.reward
        return cls(rows, sample, reward_range, row_range, adaptive, generator)

    @property
    def decisions(self) -> NDArray[np.intp] | None:
        """The number of each row's decision, [n]; None where each row is a decision of its own. See `simulator.decisions`."""
        if self.decision is not None or self.sample is None:
            return self.decision
        return self.sample.decision

    def need_sample(self) -> Sample:
        """The sample.

        Raises:
            ValueError: none was given.
        """
        if self.sample is None:
            raise ValueError("this interval needs the sample, not only its rows")
        return self.sample

    def need_reward_range(self) -> tuple[float, float]:
        """The reward range.

        Raises:
            ValueError: none was given, or a reward of the sample is outside it.
        """
        if self.reward_range is None:
            raise ValueError("this interval needs the range of rewards")
        if self.sample is not None and len(self.sample):
            low, high = self.reward_range
            met = float(self.sample.reward.min()), float(self.sample.reward.max())
            if not (low <= met[0] and met[1] <= high):
                raise ValueError(
                    f"rewards from {met[0]} to {met[1]} were met, outside ({low}, {high})"
                )
        return self.reward_range


class IntervalMethod(Protocol):
    """An interval for the mean of a policy's reward.

    Raises, when called:
        NotIdentifiable: this log cannot tell, or not by this method; the message says why, for the interval's place.
        ValueError: alpha is not in (0, 1), or the evidence lacks an argument.
    """

    def __call__(self, evidence: Evidence, alpha: float = 0.05) -> ConfidenceInterval: ...


def check_alpha(alpha: float) -> None:
    """Refuses an alpha that is no share.

    Raises:
        ValueError: it is not in (0, 1).
    """
    if not 0 < alpha < 1:  # NaN compares false
        raise ValueError(f"alpha {alpha}: must be in (0, 1)")


def check_rows(rows: Column, least: int) -> None:
    """Refuses too few rows.

    Raises:
        NotIdentifiable: there are fewer than `least`.
    """
    if len(rows) < least:
        raise NotIdentifiable(f"{len(rows)} rows: this interval needs at least {least}")


def check_independent(evidence: Evidence, method: str) -> None:
    """Refuses rows of which several belong to one decision, for a method that takes them for independent.

    Raises:
        NotIdentifiable: there are such rows.
    """
    if evidence.decisions is not None:
        raise NotIdentifiable(
            f"{method} takes each row for a draw of its own, and here several are slots of one decision, which tell of each other; "
            "take normal, which sums within decisions, or an estimator of whole slates (sips)"
        )


def deviation(rows: Column) -> float:
    """The rows' standard deviation, with n - 1: as numpy's, without a second array as long as the rows.

    >>> round(deviation(np.array([1.0, 2.0, 3.0, 4.0])), 6)
    1.290994
    """
    n, mean, square = len(rows), rows.mean(), 0.0
    for start in range(0, n, _BLOCK):
        off = rows[start : start + _BLOCK] - mean
        square += float(off @ off)
    return sqrt(square / (n - 1))
