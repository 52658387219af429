"""LinTS (Agrawal & Goyal 2013, "Thompson Sampling for Contextual Bandits with Linear Payoffs", algorithm 1): theta is drawn
from N(theta^, v^2 A^-1), the greatest x' theta is played.

Disjoint: for one context the scores are independent, score_k ~ N(x' theta^_k, v^2 x' A_k^-1 x), which has the same law as
drawing theta_k. So the pmf is exact, by quadrature (`best_of`). Shared and hybrid: the scores are correlated, and no quadrature in K
dimensions is cheap, so the pmf is how often each wins among `samples` draws of all scores (`joint`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from policies.best_of import best_of_normals
from policies.linear.joint import cholesky, draws, frequencies
from policies.linear.normals import normals
from policies.linear.policy import LinearPolicy, LinearSettings
from policies.policy import About, PolicySettings
from policies.types import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.types import ActionSet, Features

# Least standard deviation, as a share of the reward range: rounding can take a variance to 0, which no integral can bear.
_LEAST = 1e-9


class LinTSSettings(LinearSettings):
    """Settings of LinTS."""

    scale: float = Field(
        default=0.5,
        gt=0.0,
        le=1e6,
        description="Width of the posterior (v in the paper), which is right where it is the standard deviation of the "
        "reward's noise, in reward units: 0.5 is the most that rewards between 0 and 1 can have. More explores more, "
        "less stops earlier, at the risk of missing the best action.",
    )
    samples: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Not for disjoint, which needs none: joint draws of all scores for one decision. 1 / (samples + 1) of "
        "the decisions is spread over all actions. More follows the posterior more closely and takes longer.",
    )


class LinTS(LinearPolicy):
    """Thompson sampling with linear rewards: plays each action as often as it is the best by the posterior.

    State: see `LinearPolicy`.
    """

    name = "lints"
    about = About(
        paper='Agrawal & Goyal 2013, "Thompson Sampling for Contextual Bandits with Linear Payoffs"',
        when=(
            "As linucb, where rewards come late or in batches, and where the log is to answer what other policies would "
            "have earned: its probabilities are spread, those of linucb are 0 or 1."
        ),
        exploration=(
            "Each action as often as it may be the best, so on its own less and less. `scale` is how much single rewards "
            "scatter: more explores more."
        ),
    )
    Settings = LinTSSettings
    libraries = ("scipy",)

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        super().__init__(settings, reward_range)
        assert isinstance(settings, LinTSSettings)
        self._scale, self._samples = settings.scale, settings.samples
        self._least = _LEAST * (reward_range[1] - reward_range[0])

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        if self._linear.model != "disjoint":
            mean, covariance = self._joint(context, actions)
            return Scored(frequencies(mean, covariance, seed, self._samples), mean)
        mean, sd = self._independent(context, actions)
        return Scored(best_of_normals(mean, sd), mean)

    def draw(self, context: Features, actions: ActionSet, seed: int) -> int:
        """The place of an action, drawn as the posterior has it: one draw of each score, the greatest wins.

        Much faster than `pmf`, but for simulations only: there is no propensity, so nothing that is drawn so can be logged.
        """
        if self._linear.model != "disjoint":
            mean, covariance = self._joint(context, actions)
            return int(draws(mean, cholesky(covariance), seed, 0, 1).argmax())
        mean, sd = self._independent(context, actions)
        counter = np.arange(len(mean), dtype=np.uint64)
        return int((mean + sd * normals(seed, counter)).argmax())

    def _independent(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(mean, standard deviation) of the scores, each [K]."""
        mean, variance = self._posterior(context, actions)
        return mean, np.maximum(self._scale * np.sqrt(variance), self._least)

    def _joint(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(mean [K], covariance [K, K]) of the scores."""
        mean, covariance = self._regression.joint(context, actions)
        covariance *= self._scale * self._scale
        return self._with_priors(actions.ids, mean), covariance
