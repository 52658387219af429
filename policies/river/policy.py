"""Any regressor or classifier of River (Montiel et al. 2021, "River: machine learning for streaming data in Python") as
the model of rewards, and an explorer on top.

With one model, the default is logistic regression with SquareCB (Foster & Rakhlin 2020, "Beyond UCB"), which needs nothing of a model but
that it predicts: p_a = 1 / (K + gamma_n * gap), where gap is how much less than the best action this one is expected
to earn, in units of the reward range, and gamma_n = gamma * n ^ gamma_exponent after n interactions. So n = 0 is uniform,
and ever more is played by the model.

With several, which have learned from resampled interactions (`bootstrap`), what they disagree about is what is not known:
- bootstrap plays each action as often as it is the best of a model's (Eckles & Kaptein 2014).
- regcb and regcb_opt are after RegCB (Foster, Agarwal, Dudik, Luo & Schapire 2018, "Practical Contextual Bandits with Regression
  Oracles"): an action's bounds are the least and the greatest reward that any regressor expects which explains the past nearly as well
  as the best one. Those regressors cannot be searched for in general; here the members stand in for them, and nothing is proved.
Members that have all seen an action fail agree that it does, be it once or often; the floor finds out what they have missed.

Bits are the same in every process on machines that have the same River, numpy and C library: many models call exp and log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, JsonValue

from policies.crossing import product_index
from policies.exploration import greedy, squarecb
from policies.explorers import EXPLORERS, ExplorerSettings, explored
from policies.features import action_index
from policies.pack import pack, unpack
from policies.policy import About, Policy, PolicyError
from policies.rewards import shares
from policies.river.bootstrap import Members, mean
from policies.river.reward_model import RewardModel
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from policies.policy import PolicySettings
    from policies.types import ActionSet, Features, Interaction


# AdaGrad (Duchi, Hazan & Singer 2011) takes smaller steps the more it has learned of a feature, so that rare rewards do not
# drown in noise. eps 1 keeps the first steps small: without it they are all of the full size, and one in ten runs on
# ImageSegments never recovers from bad luck. Steps of 0.2 to 0.5 earn within 1% of the reward range of each other there.
_LOGISTIC: JsonValue = {
    "linear_model.LogisticRegression": {"optimizer": {"optim.AdaGrad": {"lr": 0.3, "eps": 1.0}}}
}


_SEVERAL = frozenset({"bootstrap", "regcb", "regcb_opt"})


class RiverSettings(ExplorerSettings):
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
    explorer: Literal[
        "squarecb", "softmax", "epsilon", "greedy", "bootstrap", "regcb", "regcb_opt"
    ] = Field(
        default="squarecb",
        description=EXPLORERS
        + " greedy: no more than the app's min_exploration. bootstrap: each action as often as one of "
        "`members` models takes it for the best. regcb: all alike that may be the best by some member. regcb_opt: the best by its most "
        "hopeful member. From one model to several, or back, learning starts afresh.",
    )
    members: int = Field(
        default=10,
        ge=2,
        le=100,
        description="bootstrap, regcb, regcb_opt: number of models. Each takes time and memory; more explore more evenly.",
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

    @property
    def models(self) -> int:
        """How many there are."""
        return self.members if self.explorer in _SEVERAL else 1


class River(Policy):
    """A River model that predicts each action's reward, and what the explorer makes of the predictions.

    The model sees an action as numbers by 64-bit integers: 1 at the hash of its id, its features, and the context's
    features as `interactions` says. The order is canonical, so it changes no bit.

    State: the model's objects as canonical JSON (see `objects`): about 35 bytes for each weight of a linear model, tens
    of kB for a tree, MBs for a forest.

    scores: the predicted rewards.
    """

    name = "river"
    about = About(
        paper=(
            'Montiel et al. 2021, "River: machine learning for streaming data in Python"; '
            'Foster & Rakhlin 2020, "Beyond UCB"; Eckles & Kaptein 2014'
        ),
        when=(
            "You want a particular online model: trees and forests for crooked relations, "
            "neighbours, a pipeline of your own. Slower than all others."
        ),
        exploration=(
            "As `explorer` says: `gamma` (higher explores less), `temperature`, `epsilon`, or "
            "as much as `members` disagree."
        ),
    )
    Settings: ClassVar[type[PolicySettings]] = RiverSettings
    structural = frozenset({"model", "interactions", "models"})
    libraries = ("numpy", "river")

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, RiverSettings)
        self._settings = settings
        self._low, high = reward_range
        self._span = high - self._low
        self._learned = 0
        self._members = Members(settings.model, settings.models)

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        """See `Policy.pmf`.

        Raises:
            PolicyError: a prediction is not finite: the model has diverged. To go on with a uniform pmf would look
                like health, and last for ever.
        """
        predictions = self._members.predict(list(self._rows(context, actions)))
        return Scored(self._explore(predictions), self._low + self._span * mean(predictions))

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        predictions = self._members.predict(list(self._rows(context, actions)))
        return self._low + self._span * mean(predictions)

    def learn(self, interactions: Sequence[Interaction]) -> None:
        """See `Policy.learn`. Raises PolicyError where a reward is not finite; nothing is learned then."""
        rewards = shares(interactions, self._low, self._span)
        for interaction, reward in zip(interactions, rewards, strict=True):
            chosen = interaction.actions.take(np.array([interaction.chosen]))
            (row,) = self._rows(interaction.context, chosen)
            self._members.learn(row, reward, self._learned)
            self._learned += 1

    def _explore(self, predictions: NDArray[np.float64]) -> NDArray[np.float64]:
        s = self._settings
        match s.explorer:
            case "squarecb":
                return squarecb(mean(predictions), s.gamma * self._learned**s.gamma_exponent)
            case "softmax" | "epsilon":
                return explored(s.explorer, s, mean(predictions), self._learned)
            case "bootstrap":
                return mean(np.array([greedy(each) for each in predictions]))
            case "regcb":
                hopeful = predictions.max(axis=0) >= predictions.min(axis=0).max()
                return greedy(hopeful.astype(np.float64))
            case "regcb_opt":
                return greedy(predictions.max(axis=0))
            case _:
                return greedy(mean(predictions))

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
        models = self._members.models
        skipped = [model.skipped for model in models]
        header = {**self._header(self._settings), "learned": self._learned, "skipped": skipped[0]}
        arrays = {"model": np.frombuffer(models[0].save(), np.uint8)}
        if len(models) > 1:
            header |= {"members": [model.learned for model in models], "skipped": skipped}
            for member, model in enumerate(models[1:], 1):
                arrays[f"model.{member}"] = np.frombuffer(model.save(), np.uint8)
        return pack(header, arrays)

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        header, arrays = unpack(state)
        learned, skipped = header.pop("learned", -1), header.pop("skipped", -1)
        self = cls(settings, reward_range)
        count = len(self._members.models)
        lessons = header.pop("members", None) if count > 1 else [learned]
        if header != cls._header(self._settings):
            raise PolicyError(f"a state of {header}, expected {cls._header(self._settings)}")
        skips = skipped if count > 1 else [skipped]
        names = ["model", *(f"model.{member}" for member in range(1, count))]
        if set(arrays) != set(names) or not (_counts(lessons, count) and _counts(skips, count)):
            raise PolicyError(f"a state of {sorted(arrays)}, expected {count} models")
        if not _counts([learned], 1) or any(s > n for s, n in zip(skips, lessons, strict=True)):
            raise PolicyError(f"a state with {lessons} interactions learned and {skips} skipped")
        spec = self._settings.model
        models = [
            RewardModel(spec, arrays[name].tobytes(), n, s)
            for name, n, s in zip(names, lessons, skips, strict=True)
        ]
        self._learned, self._members = learned, Members(spec, count, models)
        return self

    @classmethod
    def _header(cls, settings: PolicySettings) -> dict[str, object]:
        return {"policy": cls.name, **settings.model_dump(include={"model", "interactions"})}


def _counts(values: object, count: int) -> bool:
    """Whether these are so many numbers of 0 or more."""
    whole = isinstance(values, list) and len(values) == count
    return whole and all(type(n) is int and n >= 0 for n in values)  # type: ignore[attr-defined]
