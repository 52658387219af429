"""A policy of your own: epsilon_n-greedy (Auer, Cesa-Bianchi & Fischer 2002, figure 3), which explores less the more it knows.

Put it into a distribution of yours, whose pyproject.toml says

    [project.entry-points."rankd.policies"]
    decaying_epsilon = "decaying_epsilon:DecayingEpsilon"

install that beside rankd, and `policy: {type: decaying_epsilon}` works. `policies.checks.check_policy` tells whether it keeps
the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from policies import About, Policy, PolicyError, PolicySettings, Scored
from policies.exploration import epsilon
from policies.pack import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies import ActionSet, Features, Interaction


class DecayingEpsilonSettings(PolicySettings):
    """Settings of epsilon_n-greedy."""

    c: float = Field(
        default=10.0, gt=0.0, description="After n interactions a share of c / n explores."
    )


class DecayingEpsilon(Policy):
    """Plays the action of the best mean reward, but for a share that falls with the number of interactions.

    State: count and sum of the rewards of each action.
    """

    name = "decaying_epsilon"
    about = About(
        paper="Auer, Cesa-Bianchi & Fischer 2002, figure 3",
        when="As an example.",
        exploration="A share of c / n after n interactions.",
    )
    Settings = DecayingEpsilonSettings

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, DecayingEpsilonSettings)
        self._c = settings.c
        self._counts: dict[str, int] = {}
        self._sums: dict[str, float] = {}

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        means = [self._sums.get(a, 0.0) / self._counts.get(a, 1) for a in actions.ids]
        learned = sum(self._counts.values())
        scores = np.array(means)
        return Scored(epsilon(scores, min(1.0, self._c / max(learned, 1))), scores)

    def learn(self, interactions: Sequence[Interaction]) -> None:
        for interaction in interactions:
            action = interaction.actions.ids[interaction.chosen]
            self._counts[action] = self._counts.get(action, 0) + 1
            self._sums[action] = self._sums.get(action, 0.0) + interaction.reward

    def state(self) -> bytes:
        ids = sorted(self._counts)
        counts = np.array([self._counts[a] for a in ids], np.int64)
        sums = np.array([self._sums[a] for a in ids], np.float64)
        return pack({"policy": self.name, "ids": ids}, {"counts": counts, "sums": sums})

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, arrays = unpack(state)  # refuses damage
        if header.get("policy") != cls.name:
            raise PolicyError(f"a state of {header.get('policy')!r}, expected {cls.name!r}")
        self._counts = dict(zip(header["ids"], arrays["counts"].tolist(), strict=True))
        self._sums = dict(zip(header["ids"], arrays["sums"].tolist(), strict=True))
        return self
