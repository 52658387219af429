"""Weighted least squares, and the weights with which MRDR fits its reward model.

Farajtabar, Chow & Ghavamzadeh (2018), "More Robust Doubly Robust Off-policy Evaluation" (arXiv:1802.03493); on the weights see
`simulator.estimators.mrdr`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from policies import ActionSet, PolicyError
from policies.linear.policy import LinearSettings
from policies.linear.regression import Plain
from policies.registry import settings_of
from policies.standardise import Standardiser
from simulator.estimators.mrdr import mrdr_weight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from policies import Features
    from simulator.logs.events import Decided, Matured


class Asked(Protocol):
    """What MRDR's weights need of a target."""

    def pmf(self, decision: Decided) -> NDArray[np.float64]:
        """Its probabilities [K] over the decision's actions."""
        ...


class MRDRWeight:
    """w^2 (1 - mu) of a decision's action, for one target that stays as it is.

    Args:
        target: whose value MRDR is to estimate.
    """

    def __init__(self, target: Asked) -> None:
        self._target = target
        self._last: tuple[Decided, float] | None = None

    def __call__(self, decision: Decided) -> float:
        """In the unit of a squared weight, >= 0. All folds ask for the same row in turn: the target is asked once."""
        if self._last is None or self._last[0] is not decision:
            pi = self._target.pmf(decision)[decision.chosen]
            self._last = decision, float(mrdr_weight(pi, decision.propensity))
        return self._last[1]


class WeightedRidge:
    """The linear policies' ridge regression of the reward, in which each row has a weight.

    theta = argmin sum_t weight_t (r_t - theta' x_t)^2 + ridge |theta|^2, by recursive least squares. To be cross-fitted:
    it learns every row it is told.

    Args:
        settings: ridge, model ("disjoint" or "shared"), interactions, dimensions.
        weight: of a row, >= 0; rows of weight 0 are passed over.
        standardise: whether named numbers are, by the moments of the rows learned.
    """

    def __init__(
        self, settings: LinearSettings, weight: Callable[[Decided], float], *, standardise: bool
    ) -> None:
        self._weight = weight
        self._standardiser = Standardiser() if standardise else None
        self._regression = Plain(
            settings.ridge,
            settings.dimensions,
            settings.discount,
            shared=settings.model == "shared",
            interactions=settings.interactions,
        )

    @classmethod
    def of(
        cls,
        policy: Mapping[str, object],
        weight: Callable[[Decided], float],
        *,
        standardise: bool = True,
    ) -> Self:
        """With the settings of a policy's configuration.

        Raises:
            PolicyError: it is no linear policy, or asks for what this regression does not do; the message says what.
        """
        _, settings = settings_of(policy)
        if not isinstance(settings, LinearSettings):
            raise PolicyError(
                f"{policy['type']} does not learn by weighted least squares: take a linear policy for it, linucb say"
            )
        usual = LinearSettings()
        for name in ("discount", "window", "prior", "priors"):
            if getattr(settings, name) != getattr(usual, name):
                raise PolicyError(f"{name}: weighted least squares have none; leave it out")
        if settings.model == "hybrid":
            raise PolicyError("model=hybrid: weighted least squares are for disjoint and shared")
        return cls(settings, weight, standardise=standardise)

    def expected(self, decision: Decided) -> NDArray[np.float64]:
        """q [K]; 0 of an action of which nothing was learned."""
        return self._regression.posterior(*self._seen(decision.context, decision.actions))[0]

    def learn(self, matured: Matured) -> None:
        decision = matured.decision
        if self._standardiser is not None:
            self._standardiser.learn(decision.interaction(matured.reward))
        weight = self._weight(decision)
        if weight > 0:
            context, actions = self._seen(decision.context, decision.actions)
            self._regression.learn_weighted(
                context, actions, decision.chosen, matured.reward, weight
            )

    def _seen(self, context: Features, actions: ActionSet) -> tuple[Features, ActionSet]:
        if self._standardiser is None:
            return context, actions
        features = self._standardiser.transform(actions.features)
        return self._standardiser.transform(context), ActionSet(
            actions.ids, actions.start, features
        )
