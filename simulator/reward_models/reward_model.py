"""What a replay asks of a reward model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from simulator.logs.events import Decided, Matured


class RewardModel(Protocol):
    """q(x, a): the reward that is expected of each action.

    A model that has seen a row expects what came of it, and DR then corrects nothing there. Each implementation says why it
    has not.
    """

    def expected(self, decision: Decided) -> NDArray[np.float64]:
        """q [K] over the decision's actions, in reward units.

        Raises:
            ValueError: there is none.
        """
        ...

    def learn(self, matured: Matured) -> None:
        """Takes in a reward that has become final, if the model learns on the way."""
        ...
