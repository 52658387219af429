"""The words of a decision problem, declared together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


# Numbers of actions whose order is kept: 1,000 x 8 kB at most.
_MOST_ACTIONS = 1_000


@lru_cache(_MOST_ACTIONS)
def in_order(count: int) -> NDArray[np.intp]:
    """0, 1, 2 ... [count]: the order that changes nothing. The same array each time, which nobody may write to.

    >>> in_order(3)
    array([0, 1, 2])
    """
    order = np.arange(count, dtype=np.intp)
    order.setflags(write=False)
    return order


@dataclass(frozen=True, slots=True)
class Features:
    """A sparse vector of n features in canonical order: by namespace, then by index.

    The order never depends on the order of a request, so it can never change a bit of a sum.
    """

    index: NDArray[np.uint64]  # [n] hash of role, namespace, name (and value, if categorical)
    value: NDArray[np.float64]  # [n] finite
    namespace: NDArray[np.uint8]  # [n] an ASCII letter, see features.namespace_letter
    numeric: NDArray[np.bool_]  # [n] True where the value is a named number, to be standardised

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, part: slice) -> Features:
        return Features(
            self.index[part], self.value[part], self.namespace[part], self.numeric[part]
        )

    def take(self, where: NDArray[np.intp]) -> Features:
        """The features at the given places, in that order."""
        return Features(
            self.index[where], self.value[where], self.namespace[where], self.numeric[where]
        )

    def with_value(self, value: NDArray[np.float64]) -> Features:
        """The same features with other values, [n]."""
        return Features(self.index, value, self.namespace, self.numeric)


@dataclass(frozen=True, slots=True)
class ActionSet:
    """K actions and their features, one after the other in flat arrays (CSR)."""

    ids: tuple[str, ...]  # [K] distinct
    start: NDArray[np.intp]  # [K + 1] action k owns features[start[k]:start[k + 1]]
    features: Features

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, k: int) -> Features:
        """The features of action k."""
        return self.features[self.start[k] : self.start[k + 1]]

    def only(self, k: int) -> ActionSet:
        """Action k as a set of its own."""
        features = self.of(k)
        return ActionSet((self.ids[k],), np.array([0, len(features)], np.intp), features)

    def take(self, order: NDArray[np.intp]) -> ActionSet:
        """The actions order[0], order[1] ... as a set of their own."""
        ids = tuple(self.ids[k] for k in order)
        if not len(self.features):
            return ActionSet(ids, np.zeros(len(order) + 1, np.intp), self.features)
        counts = np.diff(self.start)[order]
        start = np.zeros(len(order) + 1, np.intp)
        np.cumsum(counts, out=start[1:])
        # The i-th feature of the new set stands where its action began, plus its place within that action.
        where = np.repeat(self.start[order] - start[:-1], counts) + np.arange(start[-1])
        return ActionSet(ids, start, self.features.take(where))


@dataclass(frozen=True, slots=True)
class Scored:
    """What a policy answers for K actions; or for N events that are alike, N then in front of all shapes."""

    pmf: NDArray[np.float64]  # [K] probabilities, >= 0, sum 1 within 1e-12
    scores: NDArray[
        np.float64
    ]  # [K] what ranks the actions, higher is better, in reward units if the policy has them
    # [B, K] of a policy that mixes others: the pmf of each of them, without any floor. None of all other policies.
    bases: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Interaction:
    """A decision joined with its final reward."""

    context: Features
    actions: ActionSet  # the K eligible actions
    chosen: int  # index into actions
    pmf: NDArray[np.float64]  # [K] as it was played
    reward: float  # finite
    # [B] of a policy that mixes others: what each of its own had given the chosen action when it was drawn. None where
    # that is not known, as in logs of other policies and of other mixtures (`ModelSpec.mixture`): columns have no names.
    bases: NDArray[np.float64] | None = None

    @property
    def propensity(self) -> float:
        """The pmf's value at the chosen action."""
        return float(self.pmf[self.chosen])
