"""Overlap of a log as such: how well could it tell the value of any policy? The uniform one stands for all of them.

The measure is that of `simulator.overlap`, before any draw: n / sum_t sum_b pi(b)^2 / mu(b) with pi(b) = 1 / K, and the
share of pi's actions that mu could not take. One pass, a few numbers for each action.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum, inf
from typing import TYPE_CHECKING

from simulator.overlap import LEAST_ROWS, LEAST_SHARE, MOST_UNSUPPORTED

if TYPE_CHECKING:
    from collections.abc import Sequence

# Actions whose mean probability is kept. At 150 bytes each, 1.5 MB.
_MOST_ACTIONS = 10_000


def at_best(propensity: float, count: int) -> list[float]:
    """[K] a pmf of which only one entry, the first here, was logged: the others as even as they can be.

    No pmf with that entry has a smaller sum of 1 / mu (Jensen's inequality), so overlap is no better than this one's.

    >>> at_best(0.5, 3)
    [0.5, 0.25, 0.25]
    """
    rest = (1.0 - propensity) / (count - 1) if count > 1 else 0.0
    return [propensity, *[rest] * (count - 1)]


@dataclass(slots=True)
class Support:
    """Takes in the pmfs of decisions, one by one.

    >>> support = Support()
    >>> support.add([0.9, 0.1], ["a", "b"])
    >>> round(support.share, 3), support.unsupported, round(support.exploration, 3), support.rarest()
    (0.36, 0.0, 0.2, ('b', 0.1))
    """

    decisions: int = 0
    _unsupported: float = 0.0  # sums over decisions, here and below
    _square: float = 0.0
    _exploration: float = 0.0
    _actions: dict[str, tuple[int, float]] = field(default_factory=dict)  # (decisions, sum of mu)

    def add(self, pmf: Sequence[float], ids: Sequence[str] = ()) -> None:
        """Takes in one decision.

        Args:
            pmf: [K] mu over all actions that could be asked for, also those with probability 0.
            ids: [K] their names, if they shall be told apart.
        """
        count = len(pmf)
        inverse = [1.0 / p for p in pmf if p > 0]
        self.decisions += 1
        self._unsupported += (count - len(inverse)) / count
        self._square += fsum(inverse) / count**2
        self._exploration += count * max(0.0, min(pmf))
        for name, p in zip(ids, pmf, strict=False):
            if name in self._actions or len(self._actions) < _MOST_ACTIONS:
                times, total = self._actions.get(name, (0, 0.0))
                self._actions[name] = times + 1, total + p

    @property
    def unsupported(self) -> float:
        """Share of what the uniform policy would do that the log's never does, in [0, 1]."""
        return self._unsupported / self.decisions if self.decisions else 0.0

    @property
    def share(self) -> float:
        """Expected ESS of the uniform policy / n, in (0, 1]."""
        return self.decisions / self._square if self._square > 0 else inf

    @property
    def ess(self) -> float:
        """The same in rows."""
        return self.decisions * self.share

    @property
    def exploration(self) -> float:
        """The greatest eps such that mu >= eps / K, averaged over decisions, in [0, 1]."""
        return self._exploration / self.decisions if self.decisions else 0.0

    def rarest(self) -> tuple[str, float] | None:
        """The action that is least probable where it could be chosen, and how probable it is there."""
        means = {name: total / times for name, (times, total) in self._actions.items()}
        return min(means.items(), key=lambda item: item[1], default=None)

    @property
    def suffices(self) -> bool:
        """Whether more rows of the same kind can tell: the bars of `simulator.overlap`, but that on the number of rows."""
        return self.unsupported <= MOST_UNSUPPORTED and self.share >= LEAST_SHARE

    @property
    def too_short(self) -> bool:
        """Whether these rows are too few yet."""
        return self.ess < LEAST_ROWS
