"""Each action's mean reward is what a random network makes of the context: no linear policy can know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.environments.encoding import context_of, named, normal
from simulator.environments.environment import Round, at_least
from simulator.environments.linear import check_gaussian, gaussian_range

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Neural:
    """mean = V max(0, W x) with x ~ N(0, I), W ~ N(0, I / d) and V ~ N(0, 2 I / h), so that means scatter by 1; Gaussian noise.

    The noise of a round is the same for all actions, as in `Linear`.
    """

    actions: int = 10  # K
    features: int = 5  # d
    hidden: int = 32  # h, units of the layer that all actions share
    noise: float = 0.5  # standard deviation, in reward units
    name: ClassVar[str] = "neural"

    def __post_init__(self) -> None:
        check_gaussian(self.actions, self.features, self.noise)
        at_least("hidden", self.hidden, 1)

    @property
    def reward_range(self) -> tuple[float, float]:
        return gaussian_range(self.noise)

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        first = generator.standard_normal((self.hidden, self.features)) / np.sqrt(self.features)
        second = generator.standard_normal((self.actions, self.hidden)) * np.sqrt(2 / self.hidden)
        offered = named(self.actions)
        while True:
            x = normal(generator, self.features)
            hidden = np.maximum(0.0, (first * x).sum(axis=1))
            mean = (second * hidden).sum(axis=1)
            rewards = mean + self.noise * generator.standard_normal()
            yield Round(context_of(x), offered, mean, rewards)
