"""LinUCB (Li, Chu, Langford & Schapire 2010, "A Contextual-Bandit Approach to Personalized News Article
Recommendation", algorithm 1): score = theta' x + alpha * sqrt(x' A^-1 x), the greatest is played.

Scores are the same bits whatever the number of actions, their order, the CPU or the BLAS: see `ridge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field

from policies.exploration import greedy
from policies.linear.design import Design
from policies.linear.ridge import Ridges
from policies.pack import pack, unpack
from policies.policy import Policy, PolicyError, PolicySettings
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from policies.types import ActionSet, Features, Interaction

_NO_KEYS, _NONE = np.empty(0, np.uint64), np.empty(0)


class LinUCBSettings(PolicySettings):
    """Settings of LinUCB."""

    alpha: float = Field(
        default=1.0,
        ge=0.0,
        description="Width of the confidence bound: how many standard deviations of optimism an action that "
        "is little known gets. 0 never explores by itself.",
    )
    ridge: float = Field(
        default=1.0,
        ge=1e-9,
        description="Lambda of the ridge regression: A starts as lambda * identity. "
        "Higher trusts the first rewards less.",
    )
    model: Literal["disjoint", "shared"] = Field(
        default="disjoint",
        description="disjoint: each action id has a regression of its own, over the context and that action's "
        "features; needs data for each id. shared: one regression for all actions, over the context, the action's "
        "features and its id; carries over to new actions by their features, and needs them.",
    )
    interactions: bool = Field(
        default=True,
        description="shared only: also the product of each context feature with each action feature. "
        "Without it no context can change which action is best.",
    )
    dimensions: int = Field(
        default=256,
        ge=2,
        le=4096,
        description="Most columns of a regression; it takes 8 * columns^2 bytes. Features that come after the last "
        "column is taken are folded onto the others by hash, with a sign.",
    )


class LinUCB(Policy):
    """Ridge regressions with confidence bounds.

    State: for each action id that has been learned (or once, if shared) A^-1 [d, d] and theta [d], where d is the
    number of distinct features learned with, bias included, at most `dimensions`: 8 d^2 + 16 d bytes. 1,000 actions
    with 20 features take 3.5 MB; at the default bound of 256 columns they take 524 MB. While it runs there is room for up to
    twice as many, where regressions are small.
    """

    name = "linucb"
    Settings = LinUCBSettings
    structural = frozenset({"ridge", "model", "interactions", "dimensions"})

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, LinUCBSettings)
        self._settings = settings
        self._shared = settings.model == "shared"
        self._design = Design(shared=self._shared, interactions=settings.interactions)
        self._ridges = Ridges(settings.ridge, settings.dimensions)

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        mean, variance = self._posterior(context, actions)
        scores = mean + self._settings.alpha * np.sqrt(variance)
        return Scored(greedy(scores), scores)

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        return self._posterior(context, actions)[0]

    def learn(self, interactions: Sequence[Interaction]) -> None:
        for interaction in interactions:
            actions, k = interaction.actions, interaction.chosen
            rows = self._design.row(interaction.context, actions, k)
            features = actions.of(k) if len(actions.features) else actions.features
            x = self._ridges.bounded(rows.values(interaction.context, features))
            key = "" if self._shared else actions.ids[k]
            self._ridges.learn(key, rows, x, interaction.reward)

    def _posterior(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(expected reward, x' A^-1 x), each [K]."""
        rows = self._design.rows(context, actions)
        x = self._ridges.bounded(rows.values(context, actions.features))
        keys = ("",) * len(actions) if self._shared else actions.ids
        return self._ridges.predict(keys, rows, x)

    def state(self) -> bytes:
        found = list(self._ridges.items())
        header = {"policy": self.name, "ids": [key for key, *_ in found], **self._structure()}
        arrays = {
            "sizes": np.array([len(keys) for _, keys, _, _ in found], np.int64),
            "keys": np.concatenate([_NO_KEYS, *(keys for _, keys, _, _ in found)]),
            "theta": np.concatenate([_NONE, *(theta for _, _, theta, _ in found)]),
            "inverse": np.concatenate([_NONE, *(inverse.ravel() for *_, inverse in found)]),
        }
        return pack(header, arrays)

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, arrays = unpack(state)
        ids = header.pop("ids", None)
        if header != {"policy": cls.name, **self._structure()}:
            raise PolicyError(f"a state of {header}, expected {self._structure()} of {cls.name}")
        try:
            for ridge in _split(ids, self._settings.dimensions, **arrays):
                self._ridges.put(*ridge)
        except (TypeError, ValueError) as error:
            raise PolicyError(f"not a state of {cls.name}: {error}") from error
        return self

    def _structure(self) -> dict[str, object]:
        return {name: getattr(self._settings, name) for name in sorted(self.structural)}


def _split(
    ids: list[str],
    limit: int,
    sizes: NDArray[np.int64],
    keys: NDArray[np.uint64],
    theta: NDArray[np.float64],
    inverse: NDArray[np.float64],
) -> Iterator[tuple[str, NDArray[np.uint64], NDArray[np.float64], NDArray[np.float64]]]:
    """(key, columns, theta, A^-1) of the regressions that `state` put one after the other.

    Raises:
        TypeError, ValueError: the arrays are not such.
    """
    if (
        len(ids) != len(sizes)
        or ids != sorted(set(ids))
        or not all(isinstance(a, str) for a in ids)
    ):
        raise ValueError("ids and sizes do not match")
    kinds = [array.dtype.str for array in (sizes, keys, theta, inverse)]
    if kinds != ["<i8", "<u8", "<f8", "<f8"]:
        raise TypeError(f"arrays are of type {kinds}")
    if not ((sizes > 0).all() and (sizes <= limit).all()):
        raise ValueError(f"a regression without columns, or with more than {limit}")
    if not len(keys) == len(theta) == sizes.sum() or len(inverse) != (sizes * sizes).sum():
        raise ValueError("sizes do not match")
    for action, d in zip(ids, sizes.tolist(), strict=True):
        square = inverse[: d * d].reshape(d, d)
        if not (keys[1:d] > keys[: d - 1]).all():
            raise ValueError(f"columns of {action!r} are out of order")
        if not (square == square.T).all():
            raise ValueError(f"A^-1 of {action!r} is not symmetric")
        if not (np.isfinite(square).all() and np.isfinite(theta[:d]).all()):
            raise ValueError(f"a number of {action!r} is not finite")
        yield action, keys[:d].copy(), theta[:d], square
        keys, theta, inverse = keys[d:], theta[d:], inverse[d * d :]
