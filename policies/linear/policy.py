"""What the linear policies have in common: ridge regressions of the reward on the features of context and action."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from policies.linear.hybrid import Hybrid
from policies.linear.regression import Plain
from policies.linear.window import Window
from policies.pack import pack, unpack
from policies.policy import Policy, PolicyError, PolicySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.alike import Alike
    from policies.linear.regression import Regression
    from policies.types import ActionSet, Features, Interaction


# Settings that a state has always named; others it names where they are not at their default.
_ALWAYS = frozenset({"ridge", "model", "interactions", "dimensions"})
# What else a state's header has.
_CONTENT = frozenset({"ids", "window_ids", "removed"})


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
    discount: float = Field(
        default=1.0,
        gt=0.5,
        le=1.0,
        description="Factor by which the weight of what was learned, of any action, falls with every interaction. 1 never "
        "forgets; 1 - 1/n remembers about n interactions, to be changed where the world does: n of about a third of the "
        "interactions between two changes.",
    )
    window: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Only so many of the last interactions count. 0: all do. Takes twice the time of learning, keeps all of "
        "them in the state, and after as many pauses to learn them anew, so that rounding errors do not add up.",
    )
    prior: float = Field(
        default=0.0,
        description="Reward that is expected of an action of which nothing was learned, whatever its features.",
    )
    priors: dict[str, float] = Field(
        default={}, description="The same for single actions, by their ids."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.discount < 1.0 and self.window:
            raise ValueError("discount and window: choose one way of forgetting")
        return self


class LinearPolicy(Policy):
    """A policy whose rewards are linear in the features.

    State: see `regression.Plain`, `hybrid.Hybrid` and `window.Window`.
    """

    Settings = LinearSettings
    compiles = True
    structural = frozenset(
        {"ridge", "model", "interactions", "dimensions", "discount", "window", "prior", "priors"}
    )

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, LinearSettings)
        self._linear = settings
        self._regression = _regression(settings)
        self._window = Window(settings.window) if settings.window else None
        self._prior, self._priors = settings.prior, settings.priors

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        return self._posterior(context, actions)[0]

    def _posterior(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(expected reward, its variance if the noise has variance 1), each [K]."""
        mean, variance = self._regression.posterior(context, actions)
        return self._with_priors(actions.ids, mean), variance

    def _posteriors(self, events: Alike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same for N events that are alike, each [N, K]."""
        mean, variance = self._regression.posteriors(events)
        return self._with_priors(events.actions.ids, mean), variance

    def _with_priors(self, ids: Sequence[str], mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is expected, where the regression has learned what rewards there are beyond the priors."""
        if self._priors:
            priors = np.array([self._priors.get(action, self._prior) for action in ids])
            np.add(mean, priors, out=mean)
        elif self._prior:
            mean += self._prior
        return mean

    def learn(self, interactions: Sequence[Interaction]) -> None:
        for each in interactions:
            context, actions, k = each.context, each.actions, each.chosen
            reward = each.reward - self._priors.get(actions.ids[k], self._prior)
            self._regression.learn(context, actions, k, reward)
            if self._window is not None:
                self._slide(self._window, context, actions, k, reward)

    def _slide(
        self, window: Window, context: Features, actions: ActionSet, k: int, reward: float
    ) -> None:
        oldest = window.add(context, actions, k, reward)
        if oldest is None:
            return
        if window.removed < self._linear.window and self._regression.unlearn(
            oldest.context, oldest.actions, 0, oldest.reward
        ):
            return
        self._regression = _regression(self._linear)
        for lesson in window:
            self._regression.learn(lesson.context, lesson.actions, 0, lesson.reward)
        window.removed = 0

    def state(self) -> bytes:
        header, arrays = self._regression.dump()
        if self._window is not None:
            more, further = self._window.dump()
            header, arrays = {**header, **more}, {**arrays, **further}
        return pack({"policy": self.name, **header, **self._structure()}, arrays)

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, arrays = unpack(state)
        structure = {"policy": cls.name, **self._structure()}
        found = {name: x for name, x in header.items() if name not in _CONTENT}
        if found != structure:
            raise PolicyError(f"a state of {found}, expected {structure}")
        try:
            if self._window is not None:
                self._window.load(header, arrays)
                arrays = {n: x for n, x in arrays.items() if not n.startswith("window_")}
            self._regression.load(header, arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(f"not a state of {cls.name}: {error}") from error
        return self

    def _structure(self) -> dict[str, object]:
        given = {name: getattr(self._linear, name) for name in sorted(self.structural)}
        usual = {name: field.default for name, field in type(self._linear).model_fields.items()}
        return {name: x for name, x in given.items() if name in _ALWAYS or x != usual[name]}


def _regression(settings: LinearSettings) -> Regression:
    s = settings
    if s.model == "hybrid":
        return Hybrid(s.ridge, s.dimensions, s.discount, interactions=s.interactions)
    shared = s.model == "shared"
    return Plain(s.ridge, s.dimensions, s.discount, shared=shared, interactions=s.interactions)
