"""Lists that are read from the top, until something is clicked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.environments.encoding import context_of, named, normal
from simulator.environments.environment import EnvironmentSpecError, Round, at_least
from simulator.environments.logistic import check_logistic, sigmoid

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Slates:
    """Several of the actions are shown; each that is seen is clicked with the probability of `Logistic`, independently.

    The slate earns 1 if anything was clicked. What stands below the click was not seen, and nobody learns of it.
    """

    actions: int = 10  # K
    features: int = 5  # d
    slots: int = 3
    bias: float = -2.0  # log-odds of a click where x says nothing
    scale: float = 1.0  # standard deviation of the log-odds
    name: ClassVar[str] = "slates"
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_logistic(self.actions, self.features, self.bias, self.scale)
        at_least("slots", self.slots, 1)
        if self.slots > self.actions:
            raise EnvironmentSpecError(f"slots: {self.slots} slots for {self.actions} actions")

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        theta = generator.standard_normal((self.actions, self.features)) / np.sqrt(self.features)
        offered = named(self.actions)
        while True:
            x = normal(generator, self.features)
            mean = sigmoid(self.bias + self.scale * (theta * x).sum(axis=1))
            clicks = (generator.random(self.actions) < mean).astype(np.float64)
            yield Round(context_of(x), offered, mean, clicks, slots=self.slots)
