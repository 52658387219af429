"""A linear world that becomes another one from time to time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from simulator.environments.environment import at_least
from simulator.environments.linear import check_gaussian, gaussian_range, linear_rounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from simulator.environments.environment import Round


@dataclass(frozen=True, slots=True)
class Nonstationary:
    """As `Linear`, with all weights drawn anew every `every` rounds."""

    actions: int = 10
    features: int = 5
    noise: float = 0.5  # standard deviation, in reward units
    every: int = 1000  # rounds
    name: ClassVar[str] = "nonstationary"

    def __post_init__(self) -> None:
        check_gaussian(self.actions, self.features, self.noise)
        at_least("every", self.every, 1)

    @property
    def reward_range(self) -> tuple[float, float]:
        return gaussian_range(self.noise)

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        return linear_rounds(self.actions, self.features, self.noise, generator, self.every)
