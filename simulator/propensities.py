"""Whether logged probabilities can be those that were played: sums of (drawn - probability) must stay near 0.

Such sums are martingales whatever the policy learned meanwhile. Freedman (1975), "On Tail Probabilities for
Martingales": with steps of at most M and variances that sum to V, |sum| exceeds t with probability at most
2 exp(-t^2 / (2 (V + M t / 3))). No approximation, so a short or a lopsided log raises no false alarm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum, log, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# One sound log in so many fails.
_FALSE_ALARM = 1e-6
# Actions told apart; all further ones are one. At 200 bytes each, 2 MB.
_MOST_ACTIONS = 10_000
OTHERS = "(others)"


@dataclass(slots=True)
class Drift:
    """A sum of steps that have expectation 0."""

    total: float = 0.0
    variance: float = 0.0  # V
    largest: float = 0.0  # M

    def add(self, step: float, variance: float, largest: float) -> None:
        self.total += step
        self.variance += variance
        self.largest = max(self.largest, largest)

    @property
    def z(self) -> float:
        """In standard deviations."""
        return self.total / sqrt(self.variance) if self.variance > 0 else 0.0

    def too_far(self, tests: int) -> bool:
        """Whether chance is no excuse, if it is one of so many tests."""
        bound = log(2 * tests / _FALSE_ALARM)
        linear = bound * self.largest / 3
        return abs(self.total) > linear + sqrt(linear * linear + 2 * bound * self.variance)


@dataclass(slots=True)
class Propensities:
    """Takes in decisions one by one."""

    decisions: int = 0
    weight: Drift = field(
        default_factory=Drift
    )  # importance weights of the uniform policy, minus 1
    actions: dict[str, Drift] = field(default_factory=dict)  # drawn minus probability

    def add(self, pmf: Sequence[float], ids: Sequence[str], chosen: int) -> None:
        """Takes in one decision.

        Args:
            pmf: [K], >= 0 with sum 1, over the actions.
            ids: [K], their names.
            chosen: index of the action that was drawn; its probability is above 0.
        """
        self.decisions += 1
        played = [p for p in pmf if p > 0]
        inverse = 1 / len(played)
        variance = max(0.0, fsum(inverse * inverse / p for p in played) - 1)
        self.weight.add(inverse / pmf[chosen] - 1, variance, inverse / min(played))
        drawn = self._label(ids[chosen])
        probability: dict[str, float] = {}
        for name, p in zip(ids, pmf, strict=True):
            if p > 0:
                label = self._label(name)
                probability[label] = probability.get(label, 0.0) + p
        for label, p in probability.items():
            self.actions[label].add((label == drawn) - p, max(0.0, p * (1 - p)), 1.0)

    @property
    def mean_weight(self) -> float:
        return 1 + self.weight.total / self.decisions if self.decisions else 1.0

    def worst(self) -> tuple[str, Drift] | None:
        """The action whose draws are furthest from its probabilities."""
        return max(self.actions.items(), key=lambda item: abs(item[1].z), default=None)

    def _label(self, action_id: str) -> str:
        if action_id not in self.actions:
            if len(self.actions) >= _MOST_ACTIONS:
                action_id = OTHERS
            self.actions.setdefault(action_id, Drift())
        return action_id
