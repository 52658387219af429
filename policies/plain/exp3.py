"""Exp3 (Auer, Cesa-Bianchi, Freund & Schapire 2002, "The Nonstochastic Multiarmed Bandit Problem", figure 1), for rewards
that an adversary might choose: w_i grows by exp(gamma x_i / (p_i K)), p_i = (1 - gamma) w_i / sum w + gamma / K.

x is the reward as a number in [0, 1], and p the probability that the decision was really drawn with, the app's floor included.
Forgetting: with a discount, ln w shrinks by that factor before each interaction, so that what is old fades (the paper's Exp3.S
mixes weights instead; both keep an action from falling so far behind that it never comes back).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from policies.exploration import softmax, with_floor
from policies.pack import pack, unpack
from policies.policy import About, Policy, PolicyError, PolicySettings
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import ActionSet, Features, Interaction


class Exp3Settings(PolicySettings):
    """Settings of Exp3."""

    gamma: float = Field(
        default=0.1,
        gt=0.0,
        le=1.0,
        description="Share of decisions that is spread evenly, and how fast weights move. For T interactions the paper's is "
        "sqrt(K ln K / ((e - 1) T)).",
    )
    discount: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="Factor by which what was learned falls with every interaction. 1 never forgets; 1 - 1/n remembers "
        "about n interactions.",
    )


class Exp3(Policy):
    """Exponential weights.

    State: ln w of each action id that was learned, 8 bytes and the id. With a discount each interaction takes time in
    proportion to their number.
    """

    name = "exp3"
    about = About(
        paper=(
            'Auer, Cesa-Bianchi, Freund & Schapire 2002, "The Nonstochastic Multiarmed '
            'Bandit Problem"'
        ),
        when=(
            "When rewards may change at any time or be chosen against you, and no average "
            "can be trusted."
        ),
        exploration=(
            "A share `gamma` is spread evenly for ever, and the rest moves with weights. It "
            "explores more than all others, and earns less where nothing changes."
        ),
    )
    Settings = Exp3Settings

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, Exp3Settings)
        self._settings = settings
        self._reward_range = reward_range
        self._ln_w: dict[str, float] = {}

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        scores = np.array([self._ln_w.get(action, 0.0) for action in actions.ids])
        return Scored(with_floor(softmax(scores), self._settings.gamma), scores)

    def learn(self, interactions: Sequence[Interaction]) -> None:
        low, high = self._reward_range
        gamma, discount = self._settings.gamma, self._settings.discount
        for interaction in interactions:
            if discount < 1.0:
                self._ln_w = {action: discount * ln_w for action, ln_w in self._ln_w.items()}
            action = interaction.actions.ids[interaction.chosen]
            x = min(max((interaction.reward - low) / (high - low), 0.0), 1.0)
            gain = gamma * x / (interaction.propensity * len(interaction.actions))
            self._ln_w[action] = self._ln_w.get(action, 0.0) + gain

    def state(self) -> bytes:
        ids = sorted(self._ln_w)
        values = np.array([self._ln_w[action] for action in ids], np.float64)
        return pack({"policy": self.name, "ids": ids}, {"ln_w": values})

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, arrays = unpack(state)
        if header.get("policy") != cls.name:
            raise PolicyError(f"a state of {header.get('policy')!r}, expected {cls.name!r}")
        try:
            ids, values = header["ids"], arrays["ln_w"]
            if ids != sorted(set(ids)) or not np.isfinite(values).all():
                raise ValueError("ids are out of order, or a weight is not finite")
            self._ln_w = dict(zip(ids, values.tolist(), strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(f"not a state of {cls.name}: {error}") from error
        return self
