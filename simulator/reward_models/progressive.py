"""q at t from the rows that had matured before t: right for logs of policies that learned, and for targets that learn.

What was expected of a row was fixed before its action was drawn, so rows of DR stay differences of a martingale whatever mu and pi
learned from (Dudik, Langford & Li 2011; Kallus & Uehara 2020 on why q must not have seen the row).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies import PolicyError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from policies.model import Model
    from simulator.logs.events import Decided, Matured


class Progressive:
    """A policy's `expected`, which learns every row on the way.

    Args:
        model: of a policy that expects rewards; it is changed.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._mixture = model.spec.mixture

    def expected(self, decision: Decided) -> NDArray[np.float64]:
        """q [K].

        Raises:
            PolicyError: the policy expects no rewards.
        """
        found = self._model.expected(decision.context, decision.actions)
        if found is None:
            raise PolicyError(
                f"{self._model.policy.name} expects no rewards, so it cannot be the reward model; take another (--reward-model)"
            )
        return found

    def learn(self, matured: Matured) -> None:
        self._model.learn([matured.decision.interaction(matured.reward, self._mixture)])
