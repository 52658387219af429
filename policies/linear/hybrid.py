"""The hybrid linear model (Li, Chu, Langford & Schapire 2010, "A Contextual-Bandit Approach to Personalized News Article
Recommendation", algorithm 2): reward = z' beta + x' theta_a, beta shared by all actions, theta_a of each action alone.

z is bias, context, action features and, if asked for, their products; x is bias, context and action features. So what
actions have in common is learned from all of them, and each then corrects it for itself.

The paper's A_0 and b_0 are what is left of all z and rewards once each action's x has explained what it can: a lesson adds
B' A^-1 B to A_0 as it was, and takes it out again as it is then. Written with residuals, that lesson is

    w = z - C' x,  e = reward - x' theta0,  s = 1 + x' A_a^-1 x      with C = A_a^-1 B_a, theta0 = A_a^-1 b_a
    A_0 += w w' / s,  b_0 += w e / s,  C += A_a^-1 x w' / s

and then theta0 and A_a learn from x as in the disjoint model. So there are two kinds of ridge regressions, as in `ridge`,
and C. The reward of x and z is w' beta + x' theta0, its variance w' A_0^-1 w + x' A_a^-1 x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from policies.linear import kernels
from policies.linear.design import Design
from policies.linear.ridge import LEAST, Ridges

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from policies.alike import Alike
    from policies.types import ActionSet, Features

_NONE = np.empty(0)


class _Cross(NamedTuple):
    """C of one action, over the columns that there were when it was last used."""

    rows: NDArray[np.uint64]  # [d] those of x
    columns: NDArray[np.uint64]  # [k] those of z
    value: NDArray[np.float64]  # [d, k]


class Hybrid:
    """Ridge regressions of each action, on top of one that all share.

    State: that of a disjoint and of a shared model, and C, 8 d k bytes for each action that has been learned, where d and k
    are the numbers of distinct features in x and in z, each at most `dimensions`.
    """

    def __init__(
        self, ridge: float, dimensions: int, discount: float, *, interactions: bool
    ) -> None:
        self._discount = discount
        self._prior = 1.0 / ridge
        self._x = Design(shared=False, ids=False, interactions=False)
        self._z = Design(shared=True, ids=False, interactions=interactions)
        self._arms = Ridges(ridge, dimensions, discount)
        self._shared = Ridges(ridge, dimensions, discount)
        self._cross: dict[str, _Cross] = {}  # C of each action

    def posterior(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, variance, w, unknown, _ = self._residuals(context, actions)
        shared_mean, shared_variance = self._shared.predict_dense("", w)
        return mean + shared_mean, variance + shared_variance + kernels.sums(unknown)

    def posteriors(self, events: Alike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        found = [self.posterior(*event) for event in events]
        return np.stack([mean for mean, _ in found]), np.stack([variance for _, variance in found])

    def joint(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, variance, w, unknown, common = self._residuals(context, actions)
        covariance = np.diag(variance + kernels.sums(np.where(common, 0.0, unknown)))
        self._shared.add_covariance("", w, covariance)
        return mean + self._shared.predict_dense("", w)[0], covariance

    def learn(self, context: Features, actions: ActionSet, k: int, reward: float) -> None:
        if self._discount < 1.0:
            self._age(actions.ids[k])
        x, z = self._lesson(context, actions, k, grow=True)
        self._take_in(actions.ids[k], x, z, reward, 1.0)

    def unlearn(self, context: Features, actions: ActionSet, k: int, reward: float) -> bool:
        x, z = self._lesson(context, actions, k, grow=False)
        return self._take_in(actions.ids[k], x, z, reward, -1.0)

    def _age(self, action: str) -> None:
        """All lessons so far weigh less from now on. As A_0, A_a and B_a all lose the same share, C stays as it is."""
        for forgotten in self._arms.tick():
            del self._cross[forgotten]
        self._shared.tick()
        self._shared.age("")
        self._arms.age(action)
        if action not in self._arms:
            self._cross.pop(action, None)
        for x in self._arms.lost(action):
            self._take_in(action, x, np.zeros(len(self._shared.keys(""))), 0.0, 1.0)
        for z in self._shared.lost(""):
            self._shared.learn_dense("", z, 0.0)

    def _lesson(
        self, context: Features, actions: ActionSet, k: int, *, grow: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(x [d], z [k]) of action k over all columns, new ones among them if they may grow."""
        action = actions.ids[k]
        features = actions.of(k) if len(actions.features) else actions.features
        own, shared = self._x.row(context, actions, k), self._z.row(context, actions, k)
        if grow:
            self._arms.grow(action, own.index)
            self._shared.grow("", shared.index)
        x = self._arms.bounded(own.values(context, features))
        z = self._shared.bounded(shared.values(context, features))
        x, z = self._arms.dense(action, own.index, x)[0], self._shared.dense("", shared.index, z)[0]
        return x[0], z[0]

    def _residuals(self, context: Features, actions: ActionSet) -> tuple[NDArray[Any], ...]:
        """(x' theta0 [K], x' A_a^-1 x [K], w [K, k] over the columns of z, variance of each feature of z that has none
        [K, n], which of these are the same for all actions [K, n])."""
        own, shared = self._x.rows(context, actions), self._z.rows(context, actions)
        x = self._arms.bounded(own.values(context, actions.features))
        z = self._shared.bounded(shared.values(context, actions.features))
        kept = np.ones(len(actions))
        mean, variance = self._arms.predict(actions.ids, own, x, kept)
        w, known = self._shared.dense("", shared.index, z)
        for k, action in enumerate(actions.ids):
            if action in self._arms:
                r = slice(k, k + 1) if len(x) > 1 else slice(1)
                dense, _ = self._arms.dense(action, own.index[r], x[r])
                known_by_x = kernels.sums_of_rows(self._aligned(action) * dense[0, :, np.newaxis])
                w[k] -= kept[k] * known_by_x
        return mean, variance, w, np.where(known, 0.0, z * (z * self._prior)), shared.common

    def _take_in(
        self,
        action: str,
        x: NDArray[np.float64],
        z: NDArray[np.float64],
        reward: float,
        sign: float,
    ) -> bool:
        """Takes in one lesson, x [d] and z [k] over all columns; or out, if the sign is -1 and not too many digits are lost."""
        cross = self._aligned(action)
        theta, inverse = self._arms.of(action)
        gain = kernels.sums_of_rows(inverse * x[:, np.newaxis])
        scale = 1.0 + sign * max(0.0, float(kernels.sums(x * gain)))
        if scale < LEAST:
            return False
        root = np.sqrt(scale)
        w = z - kernels.sums_of_rows(cross * x[:, np.newaxis])
        if (
            sign < 0.0
            and 1.0 - self._shared.predict_dense("", (w / root)[np.newaxis])[1][0] < LEAST
        ):
            return False
        error = reward - float(kernels.sums(theta * x))
        self._shared.learn_dense("", w / root, error / root, sign)
        cross += gain[:, np.newaxis] * (sign * (w / scale))
        self._arms.learn_dense(action, x, reward, sign)
        return True

    def _aligned(self, action: str) -> NDArray[np.float64]:
        """C [d, k] of this action, over the columns that both regressions have by now; what is new in them is 0."""
        rows, columns = self._arms.keys(action), self._shared.keys("")
        cross = self._cross.get(action)
        if cross is None or cross.rows is not rows or cross.columns is not columns:
            value = np.zeros((len(rows), len(columns)))
            if cross is not None:
                at = np.searchsorted(rows, cross.rows), np.searchsorted(columns, cross.columns)
                value[np.ix_(*at)] = cross.value
            cross = self._cross[action] = _Cross(rows, columns, value)
        return cross.value

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        ids, arrays = self._arms.dump()
        shared = {f"shared_{name}": array for name, array in self._shared.dump()[1].items()}
        cross = np.concatenate([_NONE, *(self._aligned(action).ravel() for action in ids)])
        return {"ids": ids}, {**arrays, **shared, "cross": cross}

    def load(self, header: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        cross, ids = arrays.pop("cross"), header["ids"]
        names = [name for name in arrays if name.startswith("shared_")]
        shared = {name.removeprefix("shared_"): arrays.pop(name) for name in names}
        self._arms.load(ids, **arrays)
        self._shared.load([""] if ids else [], **shared)
        if cross.dtype != np.float64 or not np.isfinite(cross).all():
            raise TypeError("C is not of finite numbers")
        columns = self._shared.keys("")
        for action in ids:
            rows = self._arms.keys(action)
            size = len(rows) * len(columns)
            value = cross[:size].reshape(len(rows), len(columns)).copy()
            self._cross[action], cross = _Cross(rows, columns, value), cross[size:]
        if len(cross):
            raise ValueError("C is too long")
