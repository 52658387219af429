"""KL-UCB (Garivier & Cappe 2011, "The KL-UCB Algorithm for Bounded Stochastic Bandits and Beyond", algorithm 1):
index = the greatest q with n_j d(mean, q) <= ln n + c ln ln n, where d is the divergence between coins that fall on heads
with these probabilities. Tighter than UCB1 wherever means are near the ends of the range, as click rates are.
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

# Halvings of the interval in which q is looked for: 2^-52 of it is left, the last bit of a number below 1.
_HALVINGS = 52
# A mean so close to an end that its logarithm would be infinite.
_TINY = 2.0**-60


class KLUCBSettings(PriorSettings):
    """Settings of KL-UCB."""

    c: float = Field(
        default=0.0,
        ge=0.0,
        description="Weight of ln ln n. The paper proves its bound for 3 and recommends 0 in practice.",
    )


class KLUCB(PriorPolicy):
    """Plays the action of the greatest bound. Its pmf is a point, so all exploration is the floor's."""

    name = "kl_ucb"
    about = About(
        paper=(
            'Garivier & Cappe 2011, "The KL-UCB Algorithm for Bounded Stochastic Bandits '
            'and Beyond"'
        ),
        when=(
            "As ucb1, for click rates and other rewards whose means are near the ends of "
            "their range: it wastes fewer decisions there."
        ),
        exploration=(
            "As ucb1, but only as much as the divergence between rates asks for; there is "
            "nothing to tune (`c` stays 0)."
        ),
    )
    Settings = KLUCBSettings
    scores_jointly = True  # the actions' number is in the logarithm, as each counts as tried before

    def choose(
        self,
        ids: Sequence[str],
        weight: NDArray[np.float64],
        mean: NDArray[np.float64],
        total: float,
    ) -> Scored:
        s = self._settings
        assert isinstance(s, KLUCBSettings)
        rounds = max(total + s.prior_weight * len(weight), 1.0)
        level = log(rounds) + s.c * log(max(log(rounds), 1.0))
        means = self._shrunk(ids, weight, mean)
        scores = _bound(means, level / (weight + s.prior_weight))
        return Scored(greedy(scores), scores)


def _bound(mean: NDArray[np.float64], most: NDArray[np.float64]) -> NDArray[np.float64]:
    """The greatest q in [mean, 1] with d(mean, q) <= most, each [K], by bisection."""
    low, high = mean, np.ones(len(mean))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        inside = _divergence(mean, middle) <= most
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a coin with probability q from one with p, in nats."""
    p = np.minimum(np.maximum(p, _TINY), 1.0 - 2.0**-53)
    q = np.minimum(np.maximum(q, _TINY), 1.0 - 2.0**-53)
    return p * np.log(p / q) + (1.0 - p) * np.log((1.0 - p) / (1.0 - q))
