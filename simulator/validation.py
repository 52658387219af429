"""What is sound and what is not in a log of any format, found in one pass over its events.

Nothing here judges: numbers, places, and what they are compared with. `rankd validate` says PASS or FAIL.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from math import isclose
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simulator.logs.events import CLOSE, Decided, Matured
from simulator.propensities import Drift, Propensities
from simulator.support import Support, at_best

if TYPE_CHECKING:
    from simulator.logs.events import Event, Log

_HASH = (1 << 64) - 1
# How far a small propensity may be from the pmf's: logs round one of them to four digits.
_ROUNDING = 1e-4


@dataclass(slots=True)
class Order:
    """Whether decisions come in the order of their time.

    A shuffled file is about half of its span late on average, one that was sorted by when rewards came as late as these are.
    """

    rows: int = 0
    falls: int = 0
    """Decisions that are stamped before the one that they follow."""
    greatest_us: int = 0
    """The greatest such step back, in microseconds."""
    where: Decided | None = None
    """The first decision that steps back."""
    _first: int = 0
    _latest: int = 0
    _last: int = 0
    _late: int = 0

    def add(self, decision: Decided) -> None:
        time = decision.time_us
        if time is None:
            return
        if not self.rows:
            self._first = self._latest = self._last = time
        self.rows += 1
        if time < self._last:
            self.falls += 1
            self.greatest_us = max(self.greatest_us, self._last - time)
            self.where = self.where or decision
        self._first = min(self._first, time)
        self._latest = max(self._latest, time)
        self._late += self._latest - time
        self._last = time

    @property
    def disorder(self) -> float:
        """How far a decision is behind the latest one before it, on average, as a share of the whole time, in [0, 1]."""
        span = self._latest - self._first
        return self._late / self.rows / span if span else 0.0


class Duplicate(NamedTuple):
    """Two decisions of one name."""

    first: Decided
    second: Decided


@dataclass(slots=True)
class Validation:
    """What one pass finds. Memory: 8 bytes a decision, for the hash of its name, and a few numbers an action."""

    decided: int = 0
    matured: int = 0
    weights: set[float] = field(default_factory=set)
    """How many decisions each row stands for; more than one number where rows were dropped at several rates."""
    whole: int = 0
    """Decisions with their pmf."""
    propensities: Propensities = field(default_factory=Propensities)
    """Of those with their pmf."""
    weight: Drift = field(default_factory=Drift)
    """Importance weights of the uniform policy less their expectation, of those without. That the variance is the one of the
    weights met, or the least that the propensities allow, makes the test an approximate one."""
    support: Support = field(default_factory=Support)
    """Of all; those without a pmf at best."""
    order: Order = field(default_factory=Order)
    duplicates: int = 0
    """Decisions whose name an earlier one has."""
    duplicate: Duplicate | None = None
    """The first of them."""
    contradictions: int = 0
    """Decisions whose propensity is not what their pmf has for the action."""
    contradiction: Decided | None = None
    """The first of them."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """What the log gave no event of: see `simulator.logs.Skipped`."""
    _names: array[int] = field(default_factory=lambda: array("Q"))
    _met: float = 0.0  # sum of the squared deviations of weights met

    def take(self, event: Event) -> None:
        """Takes in one event."""
        if isinstance(event, Matured):
            self.matured += 1
            return
        self.decided += 1
        self.weights.add(event.weight)
        self.order.add(event)
        self._names.append(hash((event.key, event.slot)) & _HASH)
        if event.pmf is not None:
            self.whole += 1
            pmf = event.pmf.tolist()
            if not isclose(pmf[event.chosen], event.propensity, rel_tol=CLOSE, abs_tol=_ROUNDING):
                self.contradictions += 1
                self.contradiction = self.contradiction or event
            if pmf[event.chosen] > 0:
                self.propensities.add(pmf, event.actions.ids, event.chosen)
            self.support.add(pmf, event.actions.ids)
            return
        self._alone(event)

    def _alone(self, event: Decided) -> None:
        """A decision of which only the propensity was logged."""
        count, p = len(event.actions), event.propensity
        pmf = at_best(p, count)
        self.support.add(pmf)
        supported = sum(q > 0 for q in pmf)
        expected = supported / count
        weight = 1.0 / (count * p)
        least = sum(1.0 / q for q in pmf if q > 0) / count**2 - expected**2
        self._met += (weight - expected) ** 2
        self.weight.add(weight - expected, max(0.0, least), weight)

    def finish(self) -> None:
        """Once all events have been taken in."""
        self.weight.variance = max(self.weight.variance, self._met)
        # Two of n names have one hash by chance with probability n^2 / 2^65: 3e-6 of ten million.
        names = np.asarray(self._names)
        self.duplicates = len(names) - len(np.unique(names))

    def second_of_a_name(self) -> tuple[int, int] | None:
        """Numbers, from 0, of two decisions with one name: the earliest second and its first."""
        names = np.asarray(self._names)
        order = np.argsort(names, kind="stable")
        again = np.flatnonzero(names[order][1:] == names[order][:-1])
        if not len(again):
            return None
        at = again[np.argmin(order[again + 1])]
        return int(order[at]), int(order[at + 1])


def validate(log: Log) -> Validation:
    """One pass over the log, and a second one up to the first duplicate if there is any.

    Raises:
        LogFormatError: the log is not what its format says.
    """
    found = Validation()
    for event in log:
        found.take(event)
    found.finish()
    found.passed_over = Counter(log.counters)
    pair = found.second_of_a_name() if found.duplicates else None
    if pair is not None:
        decisions = (event for event in log if isinstance(event, Decided))
        first = next(islice(decisions, pair[0], None))
        second = next(islice(decisions, pair[1] - pair[0] - 1, None))
        if first is not None and second is not None:
            found.duplicate = Duplicate(first, second)
    return found
