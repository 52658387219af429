"""Each action's mean reward is a linear function of the context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.environments.encoding import context_of, named, normal
from simulator.environments.environment import Round, at_least

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Linear:
    """mean_k = theta_k . x with x ~ N(0, I) and theta_k ~ N(0, I / d), so that means scatter by 1; Gaussian noise.

    A round's noise is the same for all actions: whoever plays one of them cannot tell, and two policies that differ are told
    apart with fewer rounds.
    """

    actions: int = 10  # K
    features: int = 5  # d
    noise: float = 0.5  # standard deviation, in reward units
    name: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        check_gaussian(self.actions, self.features, self.noise)

    @property
    def reward_range(self) -> tuple[float, float]:
        return gaussian_range(self.noise)

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        return linear_rounds(self.actions, self.features, self.noise, generator, 0)


def linear_rounds(
    actions: int, features: int, noise: float, generator: np.random.Generator, every: int
) -> Iterator[Round]:
    """Endless rounds; all weights are drawn anew every so many rounds, never if 0."""
    offered = named(actions)
    t = 0
    while True:
        if t == 0 or (every and t % every == 0):
            theta = generator.standard_normal((actions, features)) / np.sqrt(features)
        x = normal(generator, features)
        mean = (theta * x).sum(axis=1)
        yield Round(context_of(x), offered, mean, mean + noise * generator.standard_normal())
        t += 1


def check_gaussian(actions: int, features: int, noise: float) -> None:
    """Raises EnvironmentSpecError if a setting cannot be."""
    at_least("actions", actions, 1)
    at_least("features", features, 1)
    at_least("noise", noise, 0)


def gaussian_range(noise: float) -> tuple[float, float]:
    """Five standard deviations of a reward either way, with means that scatter by 1."""
    width = 5.0 * float(np.sqrt(1.0 + noise**2))
    return -width, width
