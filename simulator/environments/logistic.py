"""Clicks: each action's log-odds of a reward are a linear function of the context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.environments.encoding import context_of, named, normal
from simulator.environments.environment import EnvironmentSpecError, Round, at_least

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Logistic:
    """Reward 1 with probability 1 / (1 + exp(-bias - scale theta_k . x)), else 0; x and theta as in `Linear`.

    One uniform number decides a round for all actions, as the noise of `Linear` does.
    """

    actions: int = 10  # K
    features: int = 5  # d
    bias: float = -1.0  # log-odds where x says nothing
    scale: float = 1.0  # standard deviation of the log-odds
    name: ClassVar[str] = "logistic"
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_logistic(self.actions, self.features, self.bias, self.scale)

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        theta = generator.standard_normal((self.actions, self.features)) / np.sqrt(self.features)
        offered = named(self.actions)
        while True:
            x = normal(generator, self.features)
            mean = sigmoid(self.bias + self.scale * (theta * x).sum(axis=1))
            clicks = (generator.random() < mean).astype(np.float64)
            yield Round(context_of(x), offered, mean, clicks)


def check_logistic(actions: int, features: int, bias: float, scale: float) -> None:
    """Raises EnvironmentSpecError if a setting cannot be."""
    at_least("actions", actions, 1)
    at_least("features", features, 1)
    at_least("scale", scale, 0)
    if not np.isfinite(bias):
        raise EnvironmentSpecError(f"bias: is {bias}; must be finite")


def sigmoid(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of log-odds."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * odds)))  # overflows nowhere
