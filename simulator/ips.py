"""Inverse propensity scoring (IPS): what another policy would have earned, from a log of propensities and rewards.

Horvitz & Thompson (1952); for bandits Dudik, Langford & Li (2011), "Doubly Robust Policy Evaluation and Learning".
Symbols: mu is the policy that logged, pi the one asked about, a the logged action, r its reward, w = pi(a) / mu(a).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class NotIdentifiable(ValueError):  # noqa: N818  # it is an answer: "this log cannot tell"
    """The log does not determine the estimate; the message is the reason, to be shown in the estimate's place."""


@dataclass(slots=True)
class Ips:
    """The IPS estimate of a frozen policy's value, from running sums.

    The sums are all that the estimate, its effective sample size and its empirical-likelihood interval need: a log
    of any length is read once, in constant memory, and in parts that are merged afterwards.

    Unbiased if the logged propensities are those that were played, pi was fixed before the rows it is valued on,
    and mu(a) > 0 wherever pi(a) > 0. mu itself may change from row to row, and may learn. A policy that went on
    learning from these very rows is no frozen policy, and this is not what it would earn live.

    >>> ips = Ips()
    >>> ips.add(2.0, 1.0)
    >>> ips.add(0.5, 0.0)
    >>> ips.value, ips.mean_weight
    (1.0, 1.25)
    """

    estimand: ClassVar[str] = "frozen"

    n: int = 0
    w: float = 0.0  # sum of w
    w2: float = 0.0  # sum of w^2
    wr: float = 0.0  # sum of w r
    w2r: float = 0.0  # sum of w^2 r
    w2r2: float = 0.0  # sum of w^2 r^2
    # What was met, which is not what could have been met: see `weight_range`.
    min_weight: float = inf
    max_weight: float = -inf
    min_reward: float = inf
    max_reward: float = -inf

    @classmethod
    def of(cls, weights: ArrayLike, rewards: ArrayLike) -> Self:
        """All rows at once: weights and rewards, [n] each.

        >>> Ips.of([2.0, 0.5], [1.0, 0.0]).value
        1.0

        Raises:
            ValueError: lengths differ, a weight is negative, or a number is not finite; the message names the row.
        """
        w, r = np.asarray(weights, np.float64), np.asarray(rewards, np.float64)
        if w.ndim != 1 or w.shape != r.shape:
            raise ValueError(f"weights {w.shape} and rewards {r.shape} must both be [n]")
        if not len(w):
            return cls()
        for name, bad in (
            ("weight", ~((w >= 0) & np.isfinite(w))),  # NaN compares false
            ("reward", ~np.isfinite(r)),
        ):
            if bad.any():
                row = int(np.argmax(bad))
                raise ValueError(_refusal(name, w[row] if name == "weight" else r[row], row))
        wr = w * r
        return cls(
            len(w),
            float(w.sum()),
            float(w @ w),
            float(wr.sum()),
            float(w @ wr),
            float(wr @ wr),
            float(w.min()),
            float(w.max()),
            float(r.min()),
            float(r.max()),
        )

    def add(self, weight: float, reward: float) -> None:
        """Takes in one row: w = pi(a) / mu(a), and r.

        Raises:
            ValueError: the weight is negative, or a number is not finite. Nothing was added.
        """
        if not (weight >= 0 and isfinite(weight)):
            raise ValueError(_refusal("weight", weight, self.n))
        if not isfinite(reward):
            raise ValueError(_refusal("reward", reward, self.n))
        wr = weight * reward
        self.n += 1
        self.w += weight
        self.w2 += weight * weight
        self.wr += wr
        self.w2r += weight * wr
        self.w2r2 += wr * wr
        self.min_weight = min(self.min_weight, weight)
        self.max_weight = max(self.max_weight, weight)
        self.min_reward = min(self.min_reward, reward)
        self.max_reward = max(self.max_reward, reward)

    def merge(self, other: Ips) -> Ips:
        """The rows of both. Sums are floating point: another grouping may differ in the last bits.

        >>> Ips.of([2.0], [1.0]).merge(Ips.of([0.5], [0.0])) == Ips.of([2.0, 0.5], [1.0, 0.0])
        True
        """
        return Ips(
            self.n + other.n,
            self.w + other.w,
            self.w2 + other.w2,
            self.wr + other.wr,
            self.w2r + other.w2r,
            self.w2r2 + other.w2r2,
            min(self.min_weight, other.min_weight),
            max(self.max_weight, other.max_weight),
            min(self.min_reward, other.min_reward),
            max(self.max_reward, other.max_reward),
        )

    @property
    def value(self) -> float:
        """The estimate: mean of w r, in reward units. It may lie outside the reward range, being unbiased.

        Raises:
            NotIdentifiable: there are no rows.
        """
        return self.wr / self._rows()

    @property
    def mean_weight(self) -> float:
        """About 1 if the propensities are right: its expectation is exactly 1.

        Raises:
            NotIdentifiable: there are no rows.
        """
        return self.w / self._rows()

    @property
    def ess(self) -> float:
        """Kish's effective sample size (sum w)^2 / sum w^2, in rows; 0 if all weights are 0.

        From realised weights, so it cannot see an action that mu hardly ever took.
        """
        return self.w * self.w / self.w2 if self.w2 > 0 else 0.0

    def _rows(self) -> int:
        if not self.n:
            raise NotIdentifiable("there are no rows yet")
        return self.n


def weight_range(pi: ArrayLike, mu: ArrayLike) -> tuple[float, float]:
    """The smallest and the largest weight that could have been met, over all rows and actions: (w_min, w_max).

    Realised weights hide what matters most: an action that pi wants and mu hardly ever took does not show up in
    them, until it does. The logged pmfs tell of it beforehand.

    Args:
        pi: probabilities of the policy asked about, [K] or [n, K].
        mu: the logged probabilities of the same actions, of the same shape.

    Returns:
        w_max is infinite where pi takes an action that mu never could. Actions that neither takes do not count.

    >>> weight_range([[0.5, 0.5], [0.2, 0.8]], [[0.5, 0.5], [0.8, 0.2]])
    (0.25, 4.0)

    Raises:
        ValueError: shapes differ, or something is not a probability.
    """
    target, logged = np.asarray(pi, np.float64), np.asarray(mu, np.float64)
    if target.shape != logged.shape or not target.size:
        raise ValueError(
            f"pi {target.shape} and mu {logged.shape} must have one shape, [K] or [n, K], and not be empty"
        )
    for name, pmf in (("pi", target), ("mu", logged)):
        if not ((pmf >= 0) & (pmf <= 1 + 1e-9)).all():  # rounding may carry a sum a little over 1
            raise ValueError(f"{name} has a value outside [0, 1]")
    possible = logged > 0
    if (target[~possible] > 0).any():
        high = inf
    else:
        high = float((target[possible] / logged[possible]).max())
    return float((target[possible] / logged[possible]).min()), high


def _refusal(name: str, value: float, row: int) -> str:
    limits = "finite and >= 0 (a propensity of 0?)" if name == "weight" else "finite"
    return f"{name} {value} of row {row}: must be {limits}"
