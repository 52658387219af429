"""Whose value is asked for: a policy that learns from the log as it is replayed, or one that stays as it is.

A target is asked at each logged decision, before it can know what came of it, and told each reward when that was final.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from policies.sampler import Purpose, seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from policies import ModelSpec
    from policies.model import Model
    from simulator.logs.events import Decided, Matured

TRAINED_ON_LOG = "trained_on_log"
FROZEN = "frozen"
AS_SERVED = "as_served"


class Target(Protocol):
    """A policy as a replay uses it."""

    @property
    def name(self) -> str:
        """As the caller spelled it, for reports."""

    @property
    def estimand(self) -> str:
        """What an estimate from its pmfs is an estimate of: "frozen" or "trained_on_log"."""

    def pmf(self, decision: Decided) -> NDArray[np.float64]:
        """Its probabilities [K] over the decision's actions, floor and all."""

    def learn(self, matured: Matured) -> None:
        """Takes in one final reward, if it learns at all."""


class Trained:
    """A policy that begins untrained and learns every matured row of the log, whoever chose the action.

    Its pmf before each row says what it would have done then: progressive validation (Blum, Kalai & Langford 1999). That is
    not what it would earn live, where it would have learned from its own choices.

    Args:
        name: for reports.
        spec: the policy, its floor and its range of rewards.
        salt: of the random bits that a policy may ask for in each decision.
    """

    estimand = TRAINED_ON_LOG

    def __init__(self, name: str, spec: ModelSpec, salt: bytes = b"replay") -> None:
        self.name = name
        self._model = spec.build()
        self._salt = salt
        self._mixture = spec.mixture

    @property
    def mixture(self) -> str:
        """What the bases are that it mixes, if it does: see `ModelSpec.mixture`."""
        return self._mixture

    @property
    def model(self) -> Model:
        """As it is now."""
        return self._model

    @property
    def slotwise(self) -> bool:
        """Whether it is asked for each slot of a slate anew; see `Policy.slotwise`."""
        return self._model.slotwise

    def pmf(self, decision: Decided) -> NDArray[np.float64]:
        bits = seed(self._salt, Purpose.POLICY, decision.slot, decision.key)
        return self._model.pmf(decision.context, decision.actions, bits).pmf

    def learn(self, matured: Matured) -> None:
        self._model.learn([matured.decision.interaction(matured.reward, self._mixture)])


class Frozen(Trained):
    """A policy that stays as it is. Its value is only estimated honestly on rows that it was not trained on.

    Args:
        name: for reports.
        model: trained elsewhere, or before the rows that follow.
        salt: of the random bits that a policy may ask for in each decision.
    """

    estimand = FROZEN

    def __init__(self, name: str, model: Model, salt: bytes = b"replay") -> None:
        self.name = name
        self._model = model
        self._salt = salt
        self._mixture = model.spec.mixture

    def learn(self, matured: Matured) -> None:
        """Nothing."""
