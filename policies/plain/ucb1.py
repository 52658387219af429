"""UCB1 (Auer, Cesa-Bianchi & Fischer 2002, "Finite-time Analysis of the Multiarmed Bandit Problem", figure 1):
index = mean + sqrt(2 ln n / n_j), the greatest is played. With a discount it is D-UCB, with a window SW-UCB (Garivier &
Moulines 2011).

An action counts as tried `prior_weight` times already: the paper's rule to play each once first would give a new action all
the traffic until its first reward is learned, which takes a whole wait window.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from policies.exploration import greedy
from policies.plain.means import PriorPolicy, PriorSettings
from policies.policy import About
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class UCB1Settings(PriorSettings):
    """Settings of UCB1."""

    alpha: float = Field(
        default=1.0,
        ge=0.0,
        description="Width of the confidence bound; 1 is the paper's. Less explores less, and earns more where rewards vary "
        "less than they could.",
    )


class UCB1(PriorPolicy):
    """Plays the action of the greatest upper confidence bound. Its pmf is a point, so all exploration is the floor's."""

    name = "ucb1"
    about = About(
        paper=(
            'Auer, Cesa-Bianchi & Fischer 2002, "Finite-time Analysis of the Multiarmed '
            'Bandit Problem"; with forgetting Garivier & Moulines 2011'
        ),
        when=(
            "Few actions, no context, rewards soon after decisions. Where they come late "
            "Thompson sampling is better: this one plays one action until it hears of it."
        ),
        exploration=(
            "One action at a time, the least known first; less and less as rewards come. "
            "`alpha` scales it, and 1 is much for rewards that are nearly always 0."
        ),
    )
    Settings = UCB1Settings
    scores_jointly = True  # the actions' number is in the logarithm, as each counts as tried before

    def choose(
        self,
        ids: Sequence[str],
        weight: NDArray[np.float64],
        mean: NDArray[np.float64],
        total: float,
    ) -> Scored:
        s = self._settings
        assert isinstance(s, UCB1Settings)
        plays = weight + s.prior_weight
        rounds = max(total + s.prior_weight * len(weight), 1.0)
        means = self._shrunk(ids, weight, mean)
        scores = means + s.alpha * np.sqrt(2.0 * log(rounds) / plays)
        return Scored(greedy(scores), scores)
