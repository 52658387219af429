"""Which rows of a log a policy would have made itself: accepted at random, so that they are a history of its own.

A row whose action mu drew is accepted with probability min(1, c pi(a) / mu(a)). Where c pi <= mu for every action, whether a
row is accepted does not depend on its context, and an accepted action has the law pi: what was accepted is what the
policy would have lived through. A larger c accepts more rows, and cuts off what is above 1.

Symbols as in `simulator.sample`: mu is the policy that logged, pi the one asked about, a the logged action.
"""

from __future__ import annotations

from heapq import heappop, heappush, heappushpop
from math import ceil, inf


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
        self.c = 1.0 / actions


class Adaptive:
    """The c_t of DR-ns (Dudik, Erhan, Langford & Li 2012, "Sample-efficient Nonstationary Policy Evaluation for
    Contextual Bandits"): a quantile of the ratios mu(a) / pi(a) seen, taken anew at each acceptance.

    Between two acceptances c stays as it is, so it does not depend on the row that it decides about.

    Args:
        quantile: q in [0, 1]. 0 cuts off least: nothing, once the smallest ratio has been seen. More accepts more rows, and
            the policy learns less often from what mu did seldom.
        c_max: in (0, 1], the c that it begins with, and never exceeds.

    Raises:
        ValueError: an argument is outside its range.
    """

    def __init__(self, quantile: float, c_max: float = 1.0) -> None:
        if not 0 < c_max <= 1:  # NaN compares false
            raise ValueError(f"c_max {c_max}: must be in (0, 1]")
        self._ratios = RunningQuantile(quantile)
        self._c_max = c_max
        self.c = c_max

    def add(self, pi: float, mu: float) -> None:
        """Takes one row's pi(a) and mu(a) in."""
        self._ratios.add(mu / pi if pi > 0 else inf)

    def accepted(self) -> None:
        """A row was accepted, so the next c is due."""
        self.c = min(self._c_max, self._ratios.value)
