"""Any environment whose rewards come late."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from simulator.environments.environment import at_least
from simulator.environments.linear import Linear

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from simulator.environments.environment import Environment, Round


@dataclass(frozen=True, slots=True)
class Delayed:
    """The very rounds of another environment; a reward is known after `late` more decisions, and up to `spread` more than
    that, uniformly."""

    of: Environment = field(default_factory=Linear)
    late: int = 100  # decisions
    spread: int = 0  # decisions

    def __post_init__(self) -> None:
        at_least("late", self.late, 0)
        at_least("spread", self.spread, 0)

    @property
    def name(self) -> str:
        return f"delayed {self.of.name}"

    @property
    def reward_range(self) -> tuple[float, float]:
        return self.of.reward_range

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        delays = generator.spawn(1)[0]  # of its own, so that the other's rounds stay what they are
        for each in self.of.rounds(generator):
            late = self.late + int(delays.integers(self.spread, endpoint=True))
            yield replace(each, delay=each.delay + late)
