"""Thompson sampling with Beta posteriors (Thompson 1933; Chapelle & Li 2011, "An Empirical Evaluation of Thompson
Sampling", algorithm 2), for rewards that are clicks or shares of one.

Rewards in between count as part of a success (Agrawal & Goyal 2012, section 4, without the extra coin toss, which would make
learning random). The pmf is exact, by quadrature (`best_of`): the arms are independent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc, betaincinv

from policies.best_of import best_of
from policies.plain.means import PriorPolicy
from policies.policy import About
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Shares of a posterior that `best_of` allows to lie below and above its ends.
_BELOW, _ABOVE = 1e-5, 1e-6
# The best of many young arms is close to 1, closer than any of them is wide: halves of the way there, down to 1e-9.
_TO_ONE: NDArray[np.float64] = 1.0 - np.ldexp(1.0, -np.arange(1, 31))


class ThompsonBeta(PriorPolicy):
    """Plays each action as often as it is the best by the posterior.

    The posterior of an action is Beta(1 + successes, 1 + failures), the prior's rewards among them.
    """

    name = "thompson_beta"
    about = About(
        paper=(
            'Thompson 1933; Chapelle & Li 2011, "An Empirical Evaluation of Thompson '
            'Sampling"; Agrawal & Goyal 2012'
        ),
        when=(
            "The first choice without a context for clicks, conversions, and shares of one; "
            "also where rewards come late or in batches."
        ),
        exploration=(
            "Each action as often as it may be the best, so on its own less and less. "
            "`prior_weight` makes it trust the prior, and explore new actions, for longer."
        ),
    )
    libraries = ("scipy",)

    def choose(
        self,
        ids: Sequence[str],
        weight: NDArray[np.float64],
        mean: NDArray[np.float64],
        total: float,
    ) -> Scored:
        scores = self._shrunk(ids, weight, mean)
        count = weight + self._settings.prior_weight
        # At least 1: a density that is infinite at its end has no business in a rule of Simpson's.
        a, b = 1.0 + count * scores, 1.0 + count * (1.0 - scores)
        variance = a * b / ((a + b) * (a + b) * (a + b + 1.0))

        def distribution(which: NDArray[np.intp], x: NDArray[np.float64]) -> NDArray[np.float64]:
            inside = np.minimum(x, 1.0)
            found: NDArray[np.float64] = betainc(a[which, np.newaxis], b[which, np.newaxis], inside)
            return found

        low, high = betaincinv(a, b, _BELOW), betaincinv(a, b, 1.0 - _ABOVE)
        return Scored(best_of(low, high, np.sqrt(variance), distribution, _TO_ONE), scores)
