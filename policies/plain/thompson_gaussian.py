"""Thompson sampling with Gaussian posteriors (Agrawal & Goyal 2013, "Further Optimal Regret Bounds for Thompson Sampling",
section 2.2): an action's mean reward is N(mean, noise^2 / (rewards + prior's rewards)).

The pmf is exact, by quadrature (`best_of`): the arms are independent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from policies.best_of import best_of_normals
from policies.plain.means import PriorPolicy, PriorSettings
from policies.policy import About
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class ThompsonGaussianSettings(PriorSettings):
    """Settings of Gaussian Thompson sampling."""

    noise: float = Field(
        default=0.5,
        gt=0.0,
        description="Standard deviation of one reward, as a share of the reward range. 0.5 is the most that rewards within the "
        "range can have; less explores less.",
    )


class ThompsonGaussian(PriorPolicy):
    """Plays each action as often as it is the best by the posterior."""

    name = "thompson_gaussian"
    about = About(
        paper='Agrawal & Goyal 2013, "Further Optimal Regret Bounds for Thompson Sampling"',
        when="As thompson_beta, for rewards of any size.",
        exploration=(
            "Each action as often as it may be the best. `noise` is how much single rewards "
            "scatter: too much explores for longer than needed, too little stops too early."
        ),
    )
    Settings = ThompsonGaussianSettings
    libraries = ("scipy",)

    def choose(
        self,
        ids: Sequence[str],
        weight: NDArray[np.float64],
        mean: NDArray[np.float64],
        total: float,
    ) -> Scored:
        s = self._settings
        assert isinstance(s, ThompsonGaussianSettings)
        scores = self._shrunk(ids, weight, mean)
        return Scored(best_of_normals(scores, s.noise / np.sqrt(weight + s.prior_weight)), scores)
