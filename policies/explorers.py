"""What a model of rewards is explored by: one set of settings and one function for all policies that have such a model."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from policies.exploration import epsilon, softmax, squarecb
from policies.policy import PolicySettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Explorer = Literal["squarecb", "softmax", "epsilon"]
EXPLORERS = (
    "squarecb: the less an action is expected to earn, the more rarely it is tried, and ever more rarely as rewards come in. "
    "softmax: the same, but for a rate that stays. epsilon: a fixed share for all alike."
)


class ExplorerSettings(PolicySettings):
    """How much to try what is not expected to be best. None of these shapes a state."""

    gamma: float = Field(
        default=20.0,
        gt=0.0,
        le=1e9,
        description="squarecb: after n rewards, an action that is expected to earn a share g of the reward range less than "
        "the best is played with probability 1 / (K + gamma * sqrt(n) * g). Higher explores less.",
    )
    temperature: float = Field(
        default=0.05,
        ge=1e-6,
        le=1e6,
        description="softmax: an action that is expected to earn this share of the reward range less than another is "
        "played 1/e times as often. Lower explores less.",
    )
    epsilon: float = Field(
        default=0.05,
        ge=0.0,
        le=1.0,
        description="epsilon: share of decisions that is spread evenly; 0 plays the best. The app's min_exploration comes "
        "on top.",
    )


def explored(
    explorer: Explorer, settings: ExplorerSettings, expected: NDArray[np.float64], learned: int
) -> NDArray[np.float64]:
    """The pmf [K].

    Args:
        expected: [K] rewards, as shares of the reward range.
        learned: rewards so far. squarecb's gamma grows with their root, as the theory of Foster & Rakhlin (2020) asks of
            an unknown horizon; none gives a uniform pmf.
    """
    match explorer:
        case "squarecb":
            return squarecb(expected, settings.gamma * sqrt(learned))
        case "softmax":
            return softmax(expected / settings.temperature)
        case _:
            return epsilon(expected, settings.epsilon)
