"""Which rows belong to one decision: the slots of a slate, whose context, viewer and moment are the same.

Rows of one decision tell of each other, so no interval may take them for independent. Where a mean over n rows has G decisions,
its standard error is sqrt(G / (G - 1) sum S_g^2) / n, S_g the sum of what the rows of decision g differ from the mean by: Liang &
Zeger (1986), "Longitudinal Data Analysis Using Generalized Linear Models"; Cameron & Miller (2015), "A Practitioner's
Guide to Cluster-Robust Inference", section II. It asks that decisions be independent, or the S_g differences of a martingale.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulator.logs.events import Decided

    Column = NDArray[np.float64]


class Decisions:
    """Numbers the decisions of a log, of which it remembers the last one: slots of a decision follow each other."""

    def __init__(self) -> None:
        self._count = 0
        self._last: str | None = None
        self.slots = 0
        """Of the last decision, so far."""

    def number(self, slot: Decided) -> int:
        """How many decisions came before this slot's."""
        name = slot.decision_key
        if name == self._last:
            self.slots += 1
        else:
            self._last, self.slots = name, 1
            self._count += 1
        return self._count - 1


def shared(decision: NDArray[np.intp] | None) -> NDArray[np.intp] | None:
    """The numbers of rows' decisions, [n] in order; None if each row is a decision of its own.

    >>> shared(np.array([0, 1, 3])), shared(np.array([0, 1, 1]))
    (None, array([0, 1, 1]))
    """
    if decision is None or not (decision[1:] == decision[:-1]).any():
        return None
    return decision


class Sums(NamedTuple):
    """What rows of G decisions come to, [G] each."""

    deviations: Column
    """Of each decision's rows from the mean of all rows, summed."""
    counts: NDArray[np.intp]
    """How many rows each decision has."""


def sums(rows: Column, decision: NDArray[np.intp]) -> Sums:
    """Rows [n], one decision after the other, with the number of each one's decision.

    >>> found = sums(np.array([1.0, 2.0, 6.0]), np.array([0, 0, 4]))
    >>> found.deviations.tolist(), found.counts.tolist()
    ([-3.0, 3.0], [2, 1])
    """
    if not len(rows):
        return Sums(np.empty(0), np.empty(0, np.intp))
    starts = np.concatenate(([0], np.flatnonzero(decision[1:] != decision[:-1]) + 1))
    counts = np.diff(starts, append=len(rows))
    # As many numbers as decisions: at 10 million rows another column would be 80 MB.
    return Sums(np.add.reduceat(rows, starts) - rows.mean() * counts, counts)


def standard_error(rows: Column, decision: NDArray[np.intp]) -> tuple[float, int]:
    """That of the rows' mean, and G; NaN of fewer than two decisions. With a row for each decision it is s / sqrt(n).

    >>> error, count = standard_error(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    >>> round(error, 6), count
    (0.5, 2)
    """
    deviations = sums(rows, decision).deviations
    count = len(deviations)
    if count < 2:
        return float("nan"), count
    return sqrt(count / (count - 1) * float(deviations @ deviations)) / len(rows), count
