"""What the linear policies have in common: ridge regressions of the reward on the features of context and action."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field

from policies.linear.hybrid import Hybrid
from policies.linear.regression import Plain
from policies.pack import pack, unpack
from policies.policy import Policy, PolicyError, PolicySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from policies.linear.regression import Regression
    from policies.types import ActionSet, Features, Interaction


class LinearSettings(PolicySettings):
    """Settings of every linear policy."""

    ridge: float = Field(
        default=1.0,
        ge=1e-9,
        description="Lambda of the ridge regression: A starts as lambda * identity. "
        "Higher trusts the first rewards less.",
    )
    model: Literal["disjoint", "shared", "hybrid"] = Field(
        default="disjoint",
        description="disjoint: each action id has a regression of its own, over the context and that action's "
        "features; needs data for each id. shared: one regression for all actions, over the context, the action's "
        "features and its id; carries over to new actions by their features, and needs them. hybrid: both, added up, so that "
        "new actions begin with what all have in common and then become their own; the slowest of the three.",
    )
    interactions: bool = Field(
        default=True,
        description="Not for disjoint: also the product of each context feature with each action feature. "
        "Without it no context can change which action is best.",
    )
    dimensions: int = Field(
        default=256,
        ge=2,
        le=4096,
        description="Most columns of a regression; it takes 8 * columns^2 bytes. Features that come after the last "
        "column is taken are folded onto the others by hash, with a sign.",
    )


class LinearPolicy(Policy):
    """A policy whose rewards are linear in the features.

    State: see `regression.Plain` and `hybrid.Hybrid`.
    """

    Settings = LinearSettings
    structural = frozenset({"ridge", "model", "interactions", "dimensions"})

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, LinearSettings)
        self._linear = settings
        self._regression = _regression(settings)

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        return self._regression.posterior(context, actions)[0]

    def learn(self, interactions: Sequence[Interaction]) -> None:
        for each in interactions:
            self._regression.learn(each.context, each.actions, each.chosen, each.reward)

    def state(self) -> bytes:
        header, arrays = self._regression.dump()
        return pack({"policy": self.name, **header, **self._structure()}, arrays)

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, arrays = unpack(state)
        structure = {"policy": cls.name, **self._structure()}
        found = {name: header.pop(name, None) for name in structure}
        if found != structure:
            raise PolicyError(f"a state of {found}, expected {structure}")
        try:
            self._regression.load(header, arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(f"not a state of {cls.name}: {error}") from error
        return self

    def _structure(self) -> dict[str, object]:
        return {name: getattr(self._linear, name) for name in sorted(self.structural)}


def _regression(settings: LinearSettings) -> Regression:
    s = settings
    if s.model == "hybrid":
        return Hybrid(s.ridge, s.dimensions, interactions=s.interactions)
    shared = s.model == "shared"
    return Plain(s.ridge, s.dimensions, shared=shared, interactions=s.interactions)
