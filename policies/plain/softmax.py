"""Softmax, or Boltzmann exploration, on mean rewards (Sutton & Barto 2018, section 2.8).

Each action is as probable as exp(mean / temperature). It never stops exploring what is nearly as good, and tries what is
far worse hardly ever; a fixed temperature fits one scale of rewards, so means are taken as shares of the reward range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from policies.exploration import softmax
from policies.plain.means import PriorPolicy, PriorSettings
from policies.policy import About
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class SoftmaxSettings(PriorSettings):
    """Settings of softmax."""

    temperature: float = Field(
        default=0.05,
        gt=0.0,
        description="How great a difference of means still leaves exploration, as a share of the reward range: at 0.05 an "
        "action that is worse by a twentieth of the range is played 1/e times as often as the best.",
    )


class Softmax(PriorPolicy):
    """Plays each action with a probability proportional to exp(mean / temperature)."""

    name = "softmax"
    about = About(
        paper=(
            "Sutton & Barto 2018, section 2.8; Cesa-Bianchi, Gentile, Lugosi & Neu 2017, "
            '"Boltzmann Exploration Done Right", on its limits'
        ),
        when=(
            "When better actions should be shown more often, but none never: smooth shares "
            "rather than one winner."
        ),
        exploration=(
            "`temperature`: at equal means all alike, and a gap of one temperature is a "
            "factor of 2.7. It never explores less by itself."
        ),
    )
    Settings = SoftmaxSettings

    def choose(
        self,
        ids: Sequence[str],
        weight: NDArray[np.float64],
        mean: NDArray[np.float64],
        total: float,
    ) -> Scored:
        s = self._settings
        assert isinstance(s, SoftmaxSettings)
        scores = self._shrunk(ids, weight, mean)
        return Scored(softmax(scores / s.temperature), scores)
