"""Epsilon-greedy on the mean reward of each action, whatever the context (Sutton & Barto 2018, section 2.4).

The baseline that a contextual policy has to beat: what it earns more is what the context is worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from policies.exploration import epsilon
from policies.pack import pack, unpack
from policies.policy import Policy, PolicyError, PolicySettings
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import ActionSet, Features, Interaction


class EpsilonGreedySettings(PolicySettings):
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


class EpsilonGreedy(Policy):
    """Plays the action of the best mean reward, but for a share `epsilon`.

    State: count and mean of each action id that was learned: 16 bytes and the id.
    """

    name = "epsilon_greedy"
    Settings = EpsilonGreedySettings

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, EpsilonGreedySettings)
        self._settings = settings
        self._arms: dict[str, tuple[int, float]] = {}  # id -> (count, mean)

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        untried = (0, self._settings.prior)
        scores = np.array([self._arms.get(a, untried)[1] for a in actions.ids])
        return Scored(epsilon(scores, self._settings.epsilon), scores)

    def learn(self, interactions: Sequence[Interaction]) -> None:
        for interaction in interactions:
            action = interaction.actions.ids[interaction.chosen]
            count, mean = self._arms.get(action, (0, 0.0))
            mean += (interaction.reward - mean) / (count + 1)
            self._arms[action] = (count + 1, mean)

    def state(self) -> bytes:
        ids = sorted(self._arms)
        arrays = {
            "count": np.array([self._arms[a][0] for a in ids], np.int64),
            "mean": np.array([self._arms[a][1] for a in ids], np.float64),
        }
        return pack({"policy": self.name, "ids": ids}, arrays)

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, arrays = unpack(state)
        if header.get("policy") != cls.name:
            raise PolicyError(f"a state of {header.get('policy')!r}, expected {cls.name!r}")
        try:
            ids, count, mean = header["ids"], arrays["count"], arrays["mean"]
            if ids != sorted(set(ids)) or not (count > 0).all() or not np.isfinite(mean).all():
                raise ValueError("ids, counts or means are out of order")
            pairs = zip(count.tolist(), mean.tolist(), strict=True)
            self._arms = dict(zip(ids, pairs, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(f"not a state of {cls.name}: {error}") from error
        return self
