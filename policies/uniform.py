"""Uniform: every action alike. The honest baseline, and the best log for evaluating anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from policies.pack import pack, unpack
from policies.policy import About, Policy, PolicyError, PolicySettings
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import ActionSet, Features, Interaction


class Uniform(Policy):
    """pmf = 1 / K. Learns nothing."""

    name = "uniform"
    about = About(
        paper="-",
        when=(
            "To collect data before there is a model, or as the baseline of an experiment: "
            "no log is better for valuing other policies."
        ),
        exploration="Everything, always.",
    )

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        pass

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        return Scored(np.full(len(actions), 1.0 / len(actions)), np.zeros(len(actions)))

    def learn(self, interactions: Sequence[Interaction]) -> None:
        pass

    def state(self) -> bytes:
        return pack({"policy": self.name}, {})

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        header, _ = unpack(state)
        if header != {"policy": cls.name}:
            raise PolicyError(f"not a state of {cls.name}")
        return cls(settings, reward_range)
