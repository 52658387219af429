"""LinUCB (Li, Chu, Langford & Schapire 2010, "A Contextual-Bandit Approach to Personalized News Article
Recommendation", algorithm 1): score = theta' x + alpha * sqrt(x' A^-1 x), the greatest is played.

Scores are the same bits whatever the number of actions, their order, the CPU or the BLAS: see `ridge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from policies.exploration import greedy
from policies.linear.policy import LinearPolicy, LinearSettings
from policies.policy import About, PolicySettings
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.alike import Alike
    from policies.types import ActionSet, Features


class LinUCBSettings(LinearSettings):
    """Settings of LinUCB."""

    alpha: float = Field(
        default=0.3,
        ge=0.0,
        description="Width of the confidence bound: how many standard deviations of optimism an action that "
        "is little known gets. 0 never explores by itself. More pays where "
        "rewards scatter much, in units of 1; theory asks for more, and real data with a floor beside it for less.",
    )


class LinUCB(LinearPolicy):
    """Ridge regressions with confidence bounds.

    State: see `LinearPolicy`.
    """

    name = "linucb"
    about = About(
        paper=(
            'Li, Chu, Langford & Schapire 2010, "A Contextual-Bandit Approach to Personalized News '
            'Article Recommendation"'
        ),
        when=(
            "The first choice with a context, where rewards come within minutes: `disjoint` for few actions "
            "that stay, `shared` for many that come and go and have features."
        ),
        exploration=(
            "Plays the best bound, so on its own what is known well enough no more. `alpha` is how optimistic "
            "it is: raise it where rewards scatter much, or where there is no floor."
        ),
    )
    Settings = LinUCBSettings

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        super().__init__(settings, reward_range)
        assert isinstance(settings, LinUCBSettings)
        self._alpha = settings.alpha

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        return self._bounds(*self._posterior(context, actions))

    def pmf_alike(self, events: Alike, seeds: Sequence[int]) -> Scored:
        return self._bounds(*self._posteriors(events))

    def _bounds(self, mean: NDArray[np.float64], variance: NDArray[np.float64]) -> Scored:
        scores = mean + self._alpha * np.sqrt(variance)
        return Scored(greedy(scores), scores)
