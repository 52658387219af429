"""The policy that ran, with a server's recorded lags (`simulator.logs.served`). Others in its place: `simulator.trained_as_served`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from server.fold.records import LogRecord
from simulator.decisions import shared
from simulator.evaluation import Estimate, mean
from simulator.logs.events import LogFormatError
from simulator.targets import AS_SERVED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulator.logs.events import Decided, Matured

GROUPS = 10  # of consecutive versions, at most


class AsServed:
    """The policy that ran, as its decisions were logged: what `server.fold.verify` makes again."""

    name = "as served"
    estimand = AS_SERVED

    def __init__(self) -> None:
        # Epoch, version, the decision's number in the log, reward.
        self._rows: list[tuple[int, int, int, float]] = []

    def pmf(self, decision: Decided) -> NDArray[np.float64]:
        if decision.pmf is None:
            raise LogFormatError(f"decision {decision.key} has no pmf, so it is none of a server's")
        return decision.pmf

    def learn(self, matured: Matured) -> None:
        record = record_of(matured.decision)
        made = record.decision()
        self._rows.append((made.epoch, made.model_version, record.sequence, matured.reward))

    @property
    def versions(self) -> int:
        """How many models made a decision whose reward is final."""
        return len({row[:2] for row in self._rows})

    def by_version(self, alpha: float = 0.05, groups: int = GROUPS) -> list[Versions]:
        """Mean rewards along the versions, in groups of about equal size; a version is in one group only."""
        rows = sorted(self._rows)
        cuts = [0]
        for group in range(1, groups):
            at = len(rows) * group // groups
            while 0 < at < len(rows) and rows[at][:2] == rows[at - 1][:2]:
                at += 1
            if cuts[-1] < at < len(rows):
                cuts.append(at)
        found = []
        for begin, end in zip(cuts, [*cuts[1:], len(rows)], strict=True):
            part = rows[begin:end]
            if part:
                rewards = np.array([reward for *_, reward in part])
                made = shared(np.array([number for _, _, number, _ in part], np.intp))
                earned = mean(rewards, alpha, made)
                found.append(Versions(part[0][:2], part[-1][:2], len(part), earned))
        return found


@dataclass(frozen=True, slots=True)
class Versions:
    """What consecutive model versions earned."""

    first: tuple[int, int]
    """(epoch, number of log records folded)."""
    last: tuple[int, int]
    n: int
    """Slots with a final reward."""
    reward: Estimate
    """Their mean. Contexts change along the log, too: it is not by the versions alone that groups differ."""


def record_of(decision: Decided) -> LogRecord:
    """The record that a server made of it.

    Raises:
        LogFormatError: the log is no server's.
    """
    if not isinstance(decision.raw, LogRecord):
        raise LogFormatError(f"decision {decision.key} is no record of a server's log")
    return decision.raw
