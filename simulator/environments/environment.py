"""What an environment is: rounds of contexts and actions, whose true mean rewards are known.

Nothing that a policy does changes what comes next, so that several policies can play the very same rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from policies import ActionSet, Features


class EnvironmentSpecError(ValueError):
    """There is no such environment or setting, or a setting's value cannot be. The message says which."""


@dataclass(frozen=True, slots=True)
class Round:
    """One decision to make, and what would come of each choice.

    With more than one slot it is a slate, read from the top: `rewards` are then clicks, 0 or 1, and nobody looks below
    the first of them (the cascade model; Craswell, Zoeter, Taylor & Ramsey 2008, "An Experimental Comparison of Click
    Position-Bias Models").
    """

    context: Features
    actions: ActionSet  # [K]
    mean: NDArray[
        np.float64
    ]  # [K] each action's expected reward; in a slate, the probability of a click if seen
    rewards: NDArray[np.float64]  # [K] what each action pays if it is chosen (seen), noise and all
    delay: int = 0  # decisions that are made before the reward is known; 0: the next one knows it
    slots: int = 1  # 1 <= slots <= K

    def seen(self, chosen: Sequence[int]) -> int:
        """How many of the slots were looked at: down to the first click, or all."""
        for slot, k in enumerate(chosen, 1):
            if self.slots > 1 and self.rewards[k] > 0:
                return slot
        return len(chosen)

    def earned(self, chosen: Sequence[int]) -> float:
        """The reward of what was chosen: of a slate, 1 if anything was clicked, else 0."""
        return float(max(self.rewards[list(chosen)]))

    def expected(self, chosen: Sequence[int]) -> float:
        """The mean of `earned`."""
        if self.slots == 1:
            return float(self.mean[chosen[0]])
        return float(1.0 - np.prod(1.0 - self.mean[list(chosen)]))

    def best(self) -> float:
        """The most that can be expected."""
        return self.expected(np.argsort(-self.mean, kind="stable")[: self.slots].tolist())


class Environment(Protocol):
    """Where rounds come from. An environment is its settings; all that is random comes from the generator passed."""

    @property
    def name(self) -> str:
        """As in a spec."""

    @property
    def reward_range(self) -> tuple[float, float]:
        """(lowest, highest) reward; with Gaussian noise, where all but about one reward in a million lie."""

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        """The rounds, endless or not, of the world that the generator draws first. The same state of the generator gives the same
        rounds to the bit."""


def at_least(name: str, value: float, least: float) -> None:
    """Raises EnvironmentSpecError if a setting is below what it can be, or no number."""
    if not value >= least:  # NaN compares false
        raise EnvironmentSpecError(f"{name}: is {value}; must be at least {least:g}")
