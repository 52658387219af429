"""A log cut in its own time: what is before a decision, and who stops learning there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.logs.events import Decided
from simulator.logs.handed_on import HandedOn
from simulator.targets import FROZEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from simulator.logs.events import Event, Log, Matured
    from simulator.targets import Target


class Part(HandedOn):
    """A log from its beginning to the moment in which decision number `end` was made; it is a Log.

    Nothing that came after is handed on: a reward that was final only later is not known, as it was not then.

    Args:
        log: the whole.
        begin: the decision, from 0, at which what is of interest begins.
        end: the first decision that is left out; None for all of them.
    """

    def __init__(self, log: Log, begin: int, end: int | None) -> None:
        super().__init__(log)
        self._begin = begin
        self._end = end
        self.begun = False
        """Whether decision `begin` has been made."""
        self.before = 0
        """Rewards so far of decisions before `begin`, whenever they came."""

    def __iter__(self) -> Iterator[Event]:
        self.begun, self.before = self._begin == 0, 0
        number = 0
        pending: set[tuple[str, int]] = set()  # made before `begin`, without a reward
        for event in self.log:
            if isinstance(event, Decided):
                if number == self._end:
                    return
                self.begun = number >= self._begin
                if not self.begun:
                    pending.add((event.key, event.slot))
                number += 1
            elif (made := (event.decision.key, event.decision.slot)) in pending:
                pending.remove(made)
                self.before += 1
            yield event


class FrozenAt:
    """A policy that learns what is known when a part begins, and stays as it is from there.

    Args:
        target: a policy that learns; it is changed.
        part: that is replayed.
    """

    estimand = FROZEN

    def __init__(self, target: Target, part: Part) -> None:
        self.name = target.name
        self._target = target
        self._part = part

    def pmf(self, decision: Decided) -> NDArray[np.float64]:
        return self._target.pmf(decision)

    def learn(self, matured: Matured) -> None:
        if not self._part.begun:
            self._target.learn(matured)
