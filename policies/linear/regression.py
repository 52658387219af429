"""Linear models of rewards, and the two that need nothing but ridge regressions: one for each action, or one for all."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, Protocol

from policies.linear.design import Design
from policies.linear.ridge import Ridges

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from policies.alike import Alike
    from policies.linear.design import Rows
    from policies.types import ActionSet, Features


class Regression(Protocol):
    """A linear model of rewards."""

    def posterior(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(expected reward, its variance if the noise has variance 1), each [K]."""
        ...

    def posteriors(self, events: Alike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same for N events that are alike, each [N, K]."""
        ...

    def joint(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(expected reward [K], covariance [K, K], elements l <= k only, without what is the same for all actions)."""
        ...

    def learn(self, context: Features, actions: ActionSet, k: int, reward: float) -> None:
        """Takes in one reward of action k."""
        ...

    def unlearn(self, context: Features, actions: ActionSet, k: int, reward: float) -> bool:
        """Takes out one that was learned; False, and nothing is done, if too many digits would be lost."""
        ...

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays, for `pack`."""
        ...

    def load(self, header: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Takes on what `dump` gave.

        Raises:
            KeyError, TypeError, ValueError: it did not.
        """
        ...


class Plain:
    """A regression for each action, or one that all share.

    State: for each action id that has been learned (or once, if shared) A^-1 [d, d] and theta [d], where d is the
    number of distinct features learned with, bias included, at most `dimensions`: 8 d^2 + 16 d bytes. 1,000 actions
    with 20 features take 3.5 MB; at the default bound of 256 columns they take 524 MB. While it runs there is room for up to
    twice as many, where regressions are small. With a discount 16 bytes more for each.
    """

    def __init__(
        self, ridge: float, dimensions: int, discount: float, *, shared: bool, interactions: bool
    ) -> None:
        self._discount = discount
        self._shared = shared
        self._design = Design(shared=shared, ids=shared, interactions=shared and interactions)
        self._ridges = Ridges(ridge, dimensions, discount)

    def posterior(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows, x = self._x(context, actions)
        return self._ridges.predict(self._keys(actions), rows, x)

    def posteriors(self, events: Alike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = self._design.rows(events.context, events.actions)
        x = rows.values_alike(events)
        self._ridges.bounded(x.reshape(-1, x.shape[-1]))  # a view: in place
        return self._ridges.predict_alike(self._keys(events.actions), rows, x)

    def joint(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of a shared model only: actions that share nothing are independent."""
        rows, x = self._x(context, actions)
        mean, _ = self._ridges.predict(self._keys(actions), rows, x)
        return mean, self._ridges.covariance("", rows, x)

    def learn(self, context: Features, actions: ActionSet, k: int, reward: float) -> None:
        key, rows, x = self._lesson(context, actions, k)
        if self._discount < 1.0:
            self._ridges.tick()
            self._ridges.age(key)
            for lost in self._ridges.lost(key):
                self._ridges.learn_dense(key, lost, 0.0)
        self._ridges.learn(key, rows, x, reward)

    def learn_weighted(
        self, context: Features, actions: ActionSet, k: int, reward: float, weight: float
    ) -> None:
        """Takes in one reward of action k whose squared error counts `weight` > 0 times. Not with a discount."""
        key, rows, x = self._lesson(context, actions, k)
        root = sqrt(weight)
        self._ridges.learn(key, rows, x * root, reward * root)

    def unlearn(self, context: Features, actions: ActionSet, k: int, reward: float) -> bool:
        key, rows, x = self._lesson(context, actions, k)
        return self._ridges.unlearn(key, rows, x, reward)

    def _lesson(
        self, context: Features, actions: ActionSet, k: int
    ) -> tuple[str, Rows, NDArray[np.float64]]:
        """(the key of its regression, what is known of the row, x [1, n]) of action k."""
        rows = self._design.row(context, actions, k)
        features = actions.of(k) if len(actions.features) else actions.features
        x = self._ridges.bounded(rows.values(context, features))
        return "" if self._shared else actions.ids[k], rows, x

    def _keys(self, actions: ActionSet) -> tuple[str, ...]:
        return ("",) * len(actions) if self._shared else actions.ids

    def _x(self, context: Features, actions: ActionSet) -> tuple[Rows, NDArray[np.float64]]:
        """What is known of the rows, and x [K, n], or [1, n] if all are equal."""
        rows = self._design.rows(context, actions)
        return rows, self._ridges.bounded(rows.values(context, actions.features))

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        ids, arrays = self._ridges.dump()
        return {"ids": ids}, arrays

    def load(self, header: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self._ridges.load(header["ids"], **arrays)
