"""Laws of logs for `benchmarks.coverage`: with known values, so that one can count how often an interval holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from simulator.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Table = NDArray[np.float64]

ACTIONS = 5


@dataclass(frozen=True, slots=True)
class Fixed:
    """n independent rows: a context of C alike, an action from mu, a reward. Tables are [C, K]."""

    n: int
    mu: Table
    pi: Table
    mean: Table  # of the reward
    rewards: Literal["clicks", "amounts"] = "clicks"  # 0 or 1; or anything in [0, 1]

    adaptive = False

    @property
    def value(self) -> float:
        """What pi earns."""
        return float((self.pi * self.mean).sum(axis=1).mean())

    def samples(self, rng: np.random.Generator, count: int) -> Iterator[Sample]:
        """Logs, as a replay gives them."""
        weights = self.pi / self.mu
        square = (self.pi * weights).sum(axis=1)
        w_max, w_min = weights.max(axis=1), weights.min(axis=1)
        upto = self.mu.cumsum(axis=1)
        for _ in range(count):
            c = rng.integers(0, len(self.mu), self.n)
            u = rng.random((self.n, 1))
            k = (upto[c] < u).sum(axis=1).clip(0, ACTIONS - 1)
            yield Sample.of(
                self._rewards(rng, self.mean[c, k]),
                self.mu[c, k],
                self.pi[c, k],
                unsupported=np.zeros(self.n),
                expected_square=square[c],
                w_max=w_max[c],
                w_min=w_min[c],
            )

    def _rewards(self, rng: np.random.Generator, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.rewards == "clicks":
            return (rng.random(self.n) < mean).astype(np.float64)
        return rng.beta(2 * mean, 2 * (1 - mean))


@dataclass(frozen=True, slots=True)
class Adaptive:
    """n rows of a policy that learns from each at once: greedy on the mean click rates so far, but for a uniform share.

    Asked is what the first action would earn alone.
    """

    n: int
    rates: tuple[float, ...]  # [K] of clicks
    share: float  # uniform

    adaptive = True

    @property
    def value(self) -> float:
        """The first action's rate."""
        return self.rates[0]

    def samples(self, rng: np.random.Generator, count: int) -> Iterator[Sample]:
        """Logs, as a replay gives them; all are played side by side, a row of each at a time."""
        rates, every = np.array(self.rates), np.arange(count)
        clicks, tries = np.zeros((count, ACTIONS)), np.zeros((count, ACTIONS))
        mu, taken, reward = (np.empty((self.n, count)) for _ in range(3))
        for t in range(self.n):
            tie = 1e-9 * rng.random((count, ACTIONS))
            best = ((clicks + 0.5) / (tries + 1) + tie).argmax(axis=1)
            uniform = rng.random(count) < self.share
            k = np.where(uniform, rng.integers(0, ACTIONS, count), best)
            reward[t] = rng.random(count) < rates[k]
            mu[t] = self.share / ACTIONS + (1 - self.share) * (best == 0)
            taken[t] = k == 0
            tries[every, k] += 1
            clicks[every, k] += reward[t]
        for i in range(count):
            first = mu[
                :, i
            ]  # of the first action; another one has the rest, which its weight of 0 makes no use of
            yield Sample.of(
                reward[:, i],
                np.where(taken[:, i] == 1, first, 1 - first),
                taken[:, i],
                unsupported=np.zeros(self.n),
                expected_square=1 / first,
                w_max=1 / first,
                w_min=np.zeros(self.n),
            )


Law = Fixed | Adaptive


def mostly(best: list[int], share: float) -> Table:
    """A pmf for each context: `share` on one action, the rest evenly on all others. [C, K].

    >>> mostly([1], 0.6).round(3).tolist()
    [[0.1, 0.6, 0.1, 0.1, 0.1]]
    """
    table = np.full((len(best), ACTIONS), (1 - share) / (ACTIONS - 1))
    table[np.arange(len(best)), best] = share
    return table
