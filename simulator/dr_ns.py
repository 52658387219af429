"""Which rows of a log a policy would have made itself: accepted at random, so that they are a history of its own.

A row whose action mu drew is accepted with probability min(1, c pi(a) / mu(a)). Where c pi <= mu for every action, whether a
row is accepted does not depend on its context, and an accepted action has the law pi: what was accepted is what the
policy would have lived through. A larger c accepts more rows, and cuts off what is above 1.

Symbols as in `simulator.sample`: mu is the policy that logged, pi the one asked about, a the logged action.
"""

from __future__ import annotations

from heapq import heappop, heappush, heappushpop
from math import ceil, inf
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDED = 1e-3  # how far a uniform probability may be off, as a share of it


class RunningQuantile:
    """The q-quantile of the numbers so far: the smallest that at least a share q of them do not exceed.

    Two heaps: each number costs O(log n) and 8 bytes. q = 0 is the smallest number.

    >>> numbers = RunningQuantile(0.5)
    >>> for number in (3.0, 1.0, 2.0):
    ...     numbers.add(number)
    >>> numbers.value
    2.0

    Raises:
        ValueError: q is not in [0, 1].
    """

    def __init__(self, q: float) -> None:
        if not 0 <= q <= 1:  # NaN compares false
            raise ValueError(f"quantile {q}: must be in [0, 1]")
        self._q = q
        self._low: list[float] = []  # the smallest, negated: its root is the quantile
        self._high: list[float] = []

    def add(self, number: float) -> None:
        """Takes one number in; inf is one."""
        heappush(self._high, -heappushpop(self._low, -number))
        count = len(self._low) + len(self._high)
        while len(self._low) < max(1, ceil(self._q * count)):
            heappush(self._low, -heappop(self._high))

    @property
    def value(self) -> float:
        """inf of no numbers."""
        return -self._low[0] if self._low else inf


class Uniform:
    """The c of a log whose mu is uniform over K actions, all along: 1 / K, for which no pi is cut off.

    The policy draws an action of its own and the row is accepted if the log drew the same (Li, Chu, Langford & Wang
    2011, "Unbiased Offline Evaluation of Contextual-bandit-based News Article Recommendation Algorithms"): that
    has probability pi(a) = c pi(a) / mu(a).
    """

    def __init__(self, actions: int) -> None:
        self._actions = actions
        self.c = 1.0 / actions

    def has(self, mu: NDArray[np.float64]) -> bool:
        """Whether a row's mu is uniform over K actions, but for rounding."""
        if len(mu) != self._actions:  # c would depend on the context
            return False
        return self.holds(np.minimum.reduce(mu)) and self.holds(np.maximum.reduce(mu))

    def holds(self, probability: float) -> bool:
        """Whether a probability is that of a uniform draw, but for rounding."""
        return bool(abs(probability * self._actions - 1.0) <= _ROUNDED)


class Adaptive:
    """The c of DR-ns (Dudik, Erhan, Langford & Li 2012, "Sample-efficient Nonstationary Policy Evaluation for Contextual
    Bandits"): the q-quantile of the ratios mu / pi of the rows before, at most 1.

    Theirs are the ratios of logged actions, and c is renewed at each acceptance. Here a row's ratio is the smallest of all its actions,
    which the log's pmfs tell: a rare action that pi has come to want lowers c before it was ever logged, and q is the share of
    contexts in which anything is cut off. And c is renewed at every row: all that their argument needs is that it does not depend on the
    row that it decides about.

    Args:
        quantile: q in [0, 1]. 0 cuts off least: nothing, once the smallest ratio has been seen. More accepts more rows, and
            the policy learns less often from what mu did seldom.

    Raises:
        ValueError: q is not in [0, 1].
    """

    def __init__(self, quantile: float) -> None:
        self._ratios = RunningQuantile(quantile)

    def next(self, pi: NDArray[np.float64], mu: NDArray[np.float64]) -> float:
        """c for a row with these pmfs, [K] each, which only later rows' c depend on. The first row has only itself to go by."""
        seen = mu > 0
        if not seen.all():
            pi, mu = pi[seen], mu[seen]
        most = float(np.maximum.reduce(pi / mu))
        ratio = 1.0 / most if most > 1.0 else 1.0  # below 1 if pi does what mu never does
        before = self._ratios.value
        self._ratios.add(ratio)
        return ratio if before == inf else before
