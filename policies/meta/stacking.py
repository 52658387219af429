"""Stacked regression (Wolpert 1992, "Stacked Generalization"; Breiman 1996, "Stacked Regressions"): what several models
expect of an action, combined into one expectation.

The weights are those of a ridge regression of the reward on the models' predictions, made before they learned from
that reward, shrunk towards the plain mean of all models rather than towards 0. One regression serves all actions.
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# Weight of the plain mean, in squared predictions: with rewards of about 1 the weights are learned after a few of them.
_RIDGE = 1.0


class Stacking:
    """Weights w = A^-1 b of n models, A = ridge I + sum z z', b = ridge / n + sum reward z, the sums discounted.

    All sums run in one order, so the bits are the same everywhere.
    """

    def __init__(self, models: int) -> None:
        self._a = [[0.0] * models for _ in range(models)]  # without the ridge
        self._b = [0.0] * models
        self.weights = [1.0 / models] * models

    def learn(self, z: Sequence[float], reward: float, discount: float) -> None:
        """Takes in what each model had expected of an action, and what it earned."""
        for i, row in enumerate(self._a):
            for j in range(len(z)):
                row[j] = row[j] * discount + z[i] * z[j]
            self._b[i] = self._b[i] * discount + z[i] * reward
        self._solve()

    def combine(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """The combined expectation [K] of the models' [n, K]."""
        total: NDArray[np.float64] = self.weights[0] * z[0]
        for weight, row in zip(self.weights[1:], z[1:], strict=True):
            total = total + weight * row
        return total

    def dump(self) -> dict[str, NDArray[Any]]:
        """Arrays, for `pack`."""
        return {"stack.a": np.array(self._a), "stack.b": np.array(self._b)}

    @classmethod
    def load(cls, models: int, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `dump`.

        Raises:
            ValueError, KeyError: they are no such arrays.
        """
        a, b = arrays["stack.a"], arrays["stack.b"]
        if a.dtype != np.float64 or b.dtype != np.float64:
            raise ValueError("stacking: arrays of a wrong type")
        if a.shape != (models, models) or b.shape != (models,):
            raise ValueError(f"stacking: arrays of {a.shape} and {b.shape} for {models} models")
        if not (np.isfinite(a).all() and np.isfinite(b).all() and (a == a.T).all()):
            raise ValueError("stacking: not a covariance")
        self = cls(models)
        if a.any():
            self._a, self._b = a.tolist(), b.tolist()
            self._solve()
        if not all(isfinite(weight) for weight in self.weights):
            raise ValueError("stacking: not a covariance")
        return self

    def _solve(self) -> None:
        """The weights, by Cholesky's decomposition; math.sqrt raises ValueError where A is not positive definite."""
        n = len(self._b)
        lower = [[0.0] * n for _ in range(n)]
        forth = [0.0] * n
        for i in range(n):
            for j in range(i + 1):
                rest = self._a[i][j] + (_RIDGE if i == j else 0.0)
                for k in range(j):
                    rest -= lower[i][k] * lower[j][k]
                lower[i][j] = sqrt(rest) if i == j else rest / lower[j][j]
            rest = self._b[i] + _RIDGE / n
            for k in range(i):
                rest -= lower[i][k] * forth[k]
            forth[i] = rest / lower[i][i]
        weights = [0.0] * n
        for i in reversed(range(n)):
            rest = forth[i]
            for k in range(i + 1, n):
                rest -= lower[k][i] * weights[k]
            weights[i] = rest / lower[i][i]
        self.weights = weights
