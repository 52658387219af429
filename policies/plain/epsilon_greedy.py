"""Epsilon-greedy on the mean reward of each action, whatever the context (Sutton & Barto 2018, section 2.4).

The baseline that a contextual policy has to beat: what it earns more is what the context is worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from policies.exploration import epsilon
from policies.plain.means import MeansPolicy, MeansSettings
from policies.policy import About
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.policy import PolicySettings


class EpsilonGreedySettings(MeansSettings):
    """Settings of epsilon-greedy."""

    epsilon: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        description="Share of decisions that is spread evenly over all actions; the others play the action of the best "
        "mean. The app's min_exploration comes on top.",
    )
    prior: float = Field(
        default=0.0,
        description="The mean of an action that was never tried. 0 is what an event earns when no reward comes, so that a "
        "new action waits for its share of epsilon. The top of the reward range gives every new action all the traffic "
        "until its first reward is learned, which takes a whole wait window.",
    )


class EpsilonGreedy(MeansPolicy):
    """Plays the action of the best mean reward, but for a share `epsilon`."""

    name = "epsilon_greedy"
    about = About(
        paper='Sutton & Barto 2018, "Reinforcement Learning", section 2.4',
        when=(
            "As the baseline that a contextual policy has to beat, or for an A/B/n test "
            "that adapts and that everybody understands."
        ),
        exploration=(
            "A fixed share `epsilon` is spread evenly for ever, besides the floor. With few "
            "actions .05 to .1 is plenty; it never explores less by itself."
        ),
    )
    Settings = EpsilonGreedySettings

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        super().__init__(settings, reward_range)
        assert isinstance(settings, EpsilonGreedySettings)
        self._settings = settings

    def mean_rewards(
        self, ids: Sequence[str], weight: NDArray[np.float64], mean: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return np.where(weight > 0, mean, self._settings.prior)

    def choose(
        self,
        ids: Sequence[str],
        weight: NDArray[np.float64],
        mean: NDArray[np.float64],
        total: float,
    ) -> Scored:
        scores = self.mean_rewards(ids, weight, mean)
        return Scored(epsilon(scores, self._settings.epsilon), scores)
