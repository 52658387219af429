"""Any regressor or classifier of River (Montiel et al. 2021, "River: machine learning for streaming data in Python") as
the model of rewards, and an explorer on top.

The default is logistic regression with SquareCB (Foster & Rakhlin 2020, "Beyond UCB"), which needs nothing of a model but
that it predicts: p_a = 1 / (K + gamma_n * gap), where gap is how much less than the best action this one is expected
to earn, in units of the reward range, and gamma_n = gamma * n ^ gamma_exponent after n interactions. So n = 0 is uniform,
and ever more is played by the model.

Bits are the same in every process on machines that have the same River, numpy and C library: many models call exp and log.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, JsonValue

from policies.crossing import product_index
from policies.exploration import epsilon, greedy, squarecb
from policies.features import action_index
from policies.pack import pack, unpack
from policies.policy import Policy, PolicyError, PolicySettings
from policies.river.reward_model import RewardModel
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from policies.types import ActionSet, Features, Interaction


# AdaGrad (Duchi, Hazan & Singer 2011) takes smaller steps the more it has learned of a feature, so that rare rewards do not
# drown in noise. eps 1 keeps the first steps small: without it they are all of the full size, and one in ten runs on
# ImageSegments never recovers from bad luck. Steps of 0.2 to 0.5 earn within 1% of the reward range of each other there.
_LOGISTIC: JsonValue = {
    "linear_model.LogisticRegression": {"optimizer": {"optim.AdaGrad": {"lr": 0.3, "eps": 1.0}}}
}


class RiverSettings(PolicySettings):
    """Settings of River."""

    model: JsonValue = Field(
        default=_LOGISTIC,
        description="A class of River's, alone or with its parameters: see docs/policies.md. Classifiers suit rewards at "
        "either end of their range, regressors any. Leave scalers out: named numbers are standardised already, and River's "
        "scalers turn whatever never changes, such as an action's id, into 0.",
    )
    interactions: Literal["action_id", "action_features", "both", "none"] = Field(
        default="action_id",
        description="What context features are multiplied by, so that the context can change which action is best. "
        "action_id: each action has weights of its own; needs data for each id. action_features: carries over to new "
        "actions. none: as they are, for models that find interactions themselves: trees, forests, neighbours.",
    )
    explorer: Literal["squarecb", "epsilon", "greedy"] = Field(
        default="squarecb",
        description="squarecb: the less an action is expected to earn, the more rarely it is tried. epsilon: a fixed "
        "share for all alike. greedy: no more than the app's min_exploration.",
    )
    gamma: float = Field(
        default=20.0,
        gt=0.0,
        le=1e9,
        description="squarecb: how much an action's expected loss counts against it. Higher explores less.",
    )
    gamma_exponent: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="squarecb: how fast gamma grows with the number of interactions. 0.5 is what theory says.",
    )
    epsilon: float = Field(
        default=0.05,
        ge=0.0,
        le=1.0,
        description="epsilon: share of decisions that is spread evenly. The app's min_exploration comes on top.",
    )


class River(Policy):
    """A River model that predicts each action's reward, and what the explorer makes of the predictions.

    The model sees an action as numbers by 64-bit integers: 1 at the hash of its id, its features, and the context's
    features as `interactions` says. The order is canonical, so it changes no bit.

    State: the model's objects as canonical JSON (see `objects`): about 35 bytes for each weight of a linear model, tens
    of kB for a tree, MBs for a forest.

    scores: the predicted rewards.
    """

    name = "river"
    Settings = RiverSettings
    structural = frozenset({"model", "interactions"})
    libraries = ("numpy", "river")

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, RiverSettings)
        self._settings = settings
        self._low, high = reward_range
        self._span = high - self._low
        self._model = RewardModel(settings.model)

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        """See `Policy.pmf`.

        Raises:
            PolicyError: a prediction is not finite: the model has diverged. To go on with a uniform pmf would look
                like health, and last for ever.
        """
        expected = np.array(self._model.predict(self._rows(context, actions)))
        return Scored(self._explore(expected), self._low + self._span * expected)

    def learn(self, interactions: Sequence[Interaction]) -> None:
        """See `Policy.learn`. A reward outside the app's range counts as its nearer end.

        Raises:
            PolicyError: a reward is not finite: one NaN would stay in a model for ever. Nothing is learned then.
        """
        for interaction in interactions:
            if not isfinite(interaction.reward):
                raise PolicyError(f"reward: is {interaction.reward}; must be finite")
        for interaction in interactions:
            chosen = interaction.actions.take(np.array([interaction.chosen]))
            (row,) = self._rows(interaction.context, chosen)
            reward = (interaction.reward - self._low) / self._span
            self._model.learn(row, min(max(reward, 0.0), 1.0))

    def _explore(self, expected: NDArray[np.float64]) -> NDArray[np.float64]:
        match self._settings.explorer:
            case "squarecb":
                power = self._model.learned**self._settings.gamma_exponent
                return squarecb(expected, self._settings.gamma * power)
            case "epsilon":
                return epsilon(expected, self._settings.epsilon)
            case _:
                return greedy(expected)

    def _rows(self, context: Features, actions: ActionSet) -> Iterator[dict[int, float]]:
        """Each action as the model sees it."""
        kind = self._settings.interactions
        values = context.value.tolist()
        plain = list(zip(context.index.tolist(), values, strict=True))
        ids = np.array([action_index(action) for action in actions.ids], np.uint64)
        by_id = product_index(context.index, ids).tolist() if kind in ("action_id", "both") else ()
        for k, own in enumerate(ids.tolist()):
            features = actions.of(k)
            row = {own: 1.0}
            row.update(zip(features.index.tolist(), features.value.tolist(), strict=True))
            if kind in ("none", "action_features"):
                row.update(plain)
            if kind in ("action_id", "both"):
                row.update(zip(by_id[k], values, strict=True))
            if kind in ("action_features", "both"):
                crossed = product_index(context.index, features.index).ravel().tolist()
                products = np.outer(features.value, context.value).ravel().tolist()
                row.update(zip(crossed, products, strict=True))
            yield row

    def state(self) -> bytes:
        model = self._model
        header = {
            **self._header(self._settings),
            "learned": model.learned,
            "skipped": model.skipped,
        }
        return pack(header, {"model": np.frombuffer(model.save(), np.uint8)})

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        header, arrays = unpack(state)
        learned, skipped = header.pop("learned", -1), header.pop("skipped", -1)
        if header != cls._header(settings) or set(arrays) != {"model"}:
            raise PolicyError(f"a state of {header}, expected {cls._header(settings)}")
        if not (isinstance(learned, int) and isinstance(skipped, int) and 0 <= skipped <= learned):
            raise PolicyError(f"a state with {learned} interactions learned and {skipped} skipped")
        self = cls(settings, reward_range)
        assert isinstance(settings, RiverSettings)
        self._model = RewardModel(settings.model, arrays["model"].tobytes(), learned, skipped)
        return self

    @classmethod
    def _header(cls, settings: PolicySettings) -> dict[str, object]:
        return {"policy": cls.name, **settings.model_dump(include=set(cls.structural))}
