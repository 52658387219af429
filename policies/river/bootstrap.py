"""Several models of rewards that have learned from resampled interactions: the online bootstrap (Oza & Russell 2001, "Online
Bagging and Boosting"; as exploration Eckles & Kaptein 2014, "Thompson Sampling with the Online Bootstrap").

Each member learns each interaction k times, k ~ Poisson(1), so that members differ where little is known. k comes from the number
of the interaction and of the member, not from a generator that would have to be saved.
"""

from __future__ import annotations

from hashlib import blake2b
from math import exp
from typing import TYPE_CHECKING

import numpy as np

from policies.river.reward_model import RewardModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.river.reward_model import Row
    from policies.river.spec import Spec


class Members:
    """One model, or several that learn from resampled interactions.

    Args:
        spec: of each model.
        models: as they were saved; None for `count` untrained ones.
    """

    def __init__(self, spec: Spec, count: int, models: Sequence[RewardModel] | None = None) -> None:
        self.models = [RewardModel(spec) for _ in range(count)] if models is None else models

    def predict(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """Expected rewards [M, K] by each of M models for K rows.

        Raises:
            PolicyError: a model has diverged.
        """
        return np.array([model.predict(rows) for model in self.models]).reshape(-1, len(rows))

    def learn(self, row: Row, reward: float, number: int) -> None:
        """One interaction, the `number`-th. A model that is alone learns it once.

        Args:
            reward: in [0, 1].
        """
        alone = len(self.models) == 1
        for member, model in enumerate(self.models):
            for _ in range(1 if alone else poisson(number, member)):
                model.learn(row, reward)


def mean(predictions: NDArray[np.float64]) -> NDArray[np.float64]:
    """[K] of [M, K], members added up in their order."""
    total: NDArray[np.float64] = np.add.accumulate(predictions, axis=0)[-1] / len(predictions)
    return total


def poisson(number: int, member: int) -> int:
    """A number of the Poisson distribution with mean 1 that belongs to this interaction and member.

    >>> [poisson(0, member) for member in range(8)]
    [2, 2, 1, 2, 0, 1, 4, 1]
    """
    data = number.to_bytes(8, "little") + member.to_bytes(4, "little")
    digest = blake2b(data, digest_size=8, person=b"rankd.bootstrap")
    left = (int.from_bytes(digest.digest(), "little") >> 11) / 2**53
    k, p = 0, exp(-1.0)
    while left >= p and k < 32:  # of which 1 in 10^36 comes to an end
        left -= p
        k += 1
        p /= k
    return k
