"""Items that come and go, of which only the features are known at first."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.environments.encoding import actions_of, context_of, normal
from simulator.environments.environment import EnvironmentSpecError, Round
from simulator.environments.linear import check_gaussian, gaussian_range

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class ColdStart:
    """mean = z . w + z . W x for an item of features z and a context x, both ~ N(0, I); Gaussian noise, as in `Linear`.

    Before each round but the first, with probability `churn`, the oldest item goes and a new one comes. What is good of an item lies
    in its features alone: half of the means' variance for everybody, half by context.
    """

    actions: int = 10  # K, items at any time
    features: int = 5  # d, of an item and of a context
    noise: float = 0.5  # standard deviation, in reward units
    churn: float = 0.02  # new items per round, in [0, 1]
    name: ClassVar[str] = "cold_start"

    def __post_init__(self) -> None:
        check_gaussian(self.actions, self.features, self.noise)
        if not 0 <= self.churn <= 1:
            raise EnvironmentSpecError(f"churn: is {self.churn}; must be in [0, 1]")

    @property
    def reward_range(self) -> tuple[float, float]:
        return gaussian_range(self.noise)

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        d = self.features
        liked = generator.standard_normal(d) * np.sqrt(0.5 / d)  # w
        fits = generator.standard_normal((d, d)) * np.sqrt(0.5) / d  # W
        items = deque(normal(generator, d) for _ in range(self.actions))
        born = self.actions
        offered = None
        while True:
            if offered is not None and generator.random() < self.churn:
                items.popleft()
                items.append(normal(generator, d))
                born += 1
                offered = None
            if offered is None:
                z = np.stack(items)
                ids = [f"item{n:06d}" for n in range(born - self.actions, born)]
                offered = actions_of(ids, z)
            x = normal(generator, d)
            mean = (z * (liked + (fits * x).sum(axis=1))).sum(axis=1)
            rewards = mean + self.noise * generator.standard_normal()
            yield Round(context_of(x), offered, mean, rewards)
