"""LinUCB (Li, Chu, Langford & Schapire 2010, "A Contextual-Bandit Approach to Personalized News Article
Recommendation", algorithm 1): score = theta' x + alpha * sqrt(x' A^-1 x), the greatest is played.

Scores are the same bits whatever the number of actions, their order, the CPU or the BLAS: see `ridge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field

from policies.exploration import greedy
from policies.features import action_index
from policies.linear.ridge import Ridge, bounded, predict
from policies.pack import pack, unpack
from policies.policy import Policy, PolicyError, PolicySettings
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from policies.types import ActionSet, Features, Interaction

BIAS = 0  # the index of the feature that is always 1: lowest, so that it has the first column
_BIAS, _ONE = np.array([BIAS], np.uint64), np.ones(1)
# Layouts whose order is remembered: 64 x 16 bytes for each of 16,384 features = 17 MB at worst.
_SEEN = 64
_PAD = 2**64 - 1  # fills up short rows, always with the value 0
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: spreads the index of a product
# Elements of A^-1 that are worked on at once: 65,536 x 8 bytes = 512 kB, which a CPU's second cache still holds.
_CHUNK = 65_536


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
    with 20 features take 3.5 MB; at the default bound of 256 columns they take 524 MB.
    """

    name = "linucb"
    Settings = LinUCBSettings
    structural = frozenset({"ridge", "model", "interactions", "dimensions"})

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, LinUCBSettings)
        self._settings = settings
        self._new = Ridge.prior()
        self._ridges: dict[str, Ridge] = {}  # by action id; if shared, the only one is that of ""
        # By id of an array that nobody changes: what `_sorted` made of it.
        self._seen: dict[int, tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.intp]]] = {}

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        mean, variance = self._predict(context, actions)
        scores = mean + self._settings.alpha * np.sqrt(variance)
        return Scored(greedy(scores), scores)

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        return self._predict(context, actions)[0]

    def _predict(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(theta' x, x' A^-1 x) of each action, each [K]."""
        prior, limit = 1.0 / self._settings.ridge, self._settings.dimensions
        index, value = self._joint(context, actions)
        mean, variance = np.empty(len(actions)), np.empty(len(actions))
        for ridges, members in self._groups(actions.ids, min(index.shape[1], limit)):
            rows = members if len(index) > 1 else [0]
            mean[members], variance[members] = predict(
                ridges, index[rows], value[rows], prior, limit
            )
        return mean, variance

    def learn(self, interactions: Sequence[Interaction]) -> None:
        prior, limit = 1.0 / self._settings.ridge, self._settings.dimensions
        for interaction in interactions:
            chosen = interaction.actions.only(interaction.chosen)
            index, value = self._joint(interaction.context, chosen)
            key = "" if self._settings.model == "shared" else chosen.ids[0]
            ridge = self._ridges.get(key, self._new).grown(index, prior, limit)
            ridge.learn(index, value, interaction.reward, limit)
            self._ridges[key] = ridge

    def _joint(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """x of each action as (index, value), each [K, n] with rows sorted by index, or [1, n] if all are equal."""
        shared, prior = self._settings.model == "shared", 1.0 / self._settings.ridge
        value = np.concatenate((_ONE, context.value))
        if not shared and not len(actions.features):
            index, order = self._sorted(context.index)
            return index, bounded(value[order][np.newaxis], prior)
        index = np.concatenate((_BIAS, context.index))
        parts = [
            (np.broadcast_to(part, (len(actions), len(part))) for part in (index, value)),
            own := _rows(actions),
        ]
        if shared:
            ids = np.array([[action_index(a)] for a in actions.ids], np.uint64)
            parts.append((ids, np.ones(ids.shape)))
            if self._settings.interactions:
                parts.append(_products(context, *own))
        indices, values = zip(*parts, strict=True)
        index, value = np.concatenate(indices, axis=1), np.concatenate(values, axis=1)
        order = np.argsort(index, axis=1)
        value = np.take_along_axis(value, order, axis=1)
        return np.take_along_axis(index, order, axis=1), bounded(value, prior)

    def _sorted(self, index: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
        """(bias and these indices as a sorted row [1, n], the order that sorts them). A layout's come again and again."""
        seen = self._seen.get(id(index))
        if seen is not None and seen[0] is index:
            return seen[1:]
        joint = np.concatenate((_BIAS, index))
        order = np.argsort(joint)
        row = joint[order][np.newaxis]
        if not index.flags.writeable:
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen[id(index)] = index, row, order
        return row, order

    def _groups(self, ids: Sequence[str], width: int) -> Iterator[tuple[list[Ridge], list[int]]]:
        """Regressions of equal columns (only one, if shared), and the actions that they score."""
        shared = self._settings.model == "shared"
        ridges = [self._ridges.get("" if shared else a, self._new) for a in ids]
        groups: dict[bytes, list[int]] = {}
        for k, ridge in enumerate(ridges):
            groups.setdefault(ridge.columns, []).append(k)
        most = max(1, _CHUNK // width**2)
        for group in groups.values():
            for start in range(0, len(group), most):
                members = group[start : start + most]
                yield [ridges[k] for k in (members[:1] if shared else members)], members

    def state(self) -> bytes:
        ids = sorted(self._ridges)
        ridges = [self._ridges[a] for a in ids] or [self._new]
        header = {"policy": self.name, "ids": ids, **self._structure()}
        arrays = {
            "sizes": np.array([len(self._ridges[a].keys) for a in ids], np.int64),
            "keys": np.concatenate([ridge.keys for ridge in ridges]),
            "theta": np.concatenate([ridge.theta for ridge in ridges]),
            "inverse": np.concatenate([ridge.inverse.ravel() for ridge in ridges]),
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
            self._ridges = _split(ids, self._settings.dimensions, **arrays)
        except (TypeError, ValueError) as error:
            raise PolicyError(f"not a state of {cls.name}: {error}") from error
        return self

    def _structure(self) -> dict[str, object]:
        return {name: getattr(self._settings, name) for name in sorted(self.structural)}


def _rows(actions: ActionSet) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """The actions' features as (index, value), each [K, n], shorter rows filled up."""
    counts = np.diff(actions.start)
    row = np.repeat(np.arange(len(actions)), counts)
    column = np.arange(len(row)) - np.repeat(actions.start[:-1], counts)
    index = np.full((len(actions), int(counts.max())), _PAD, np.uint64)
    value = np.zeros(index.shape)
    index[row, column], value[row, column] = actions.features.index, actions.features.value
    return index, value


def _products(
    context: Features, index: NDArray[np.uint64], value: NDArray[np.float64]
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Each context feature times each of the actions' features [K, n], as (index, value), each [K, n * m]."""
    indices = index[:, :, np.newaxis] + context.index * _GOLDEN
    values = value[:, :, np.newaxis] * context.value
    return indices.reshape(len(index), -1), values.reshape(len(index), -1)


def _split(
    ids: list[str],
    limit: int,
    sizes: NDArray[np.int64],
    keys: NDArray[np.uint64],
    theta: NDArray[np.float64],
    inverse: NDArray[np.float64],
) -> dict[str, Ridge]:
    """The regressions that `state` put one after the other.

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
    ridges = {}
    for action, d in zip(ids, sizes.tolist(), strict=True):
        square = inverse[: d * d].reshape(d, d).copy()
        if not (keys[1:d] > keys[: d - 1]).all():
            raise ValueError(f"columns of {action!r} are out of order")
        if not (square == square.T).all():
            raise ValueError(f"A^-1 of {action!r} is not symmetric")
        if not (np.isfinite(square).all() and np.isfinite(theta[:d]).all()):
            raise ValueError(f"a number of {action!r} is not finite")
        ridges[action] = Ridge(keys[:d].copy(), theta[:d].copy(), square)
        keys, theta, inverse = keys[d:], theta[d:], inverse[d * d :]
    return ridges
