"""How much to follow each of several policies, from rewards of decisions that a mixture of them made.

EXP4 (Auer, Cesa-Bianchi, Freund & Schapire 2002, "The Nonstochastic Multiarmed Bandit Problem", section 7) with what later
work makes of it:

- importance weights against the mixture that really drew, with the mean reward b as control variate:
  gain_i = (reward - b) * q_i / p, where p is the action's propensity and q_i what policy i had given it. Policies that gave
  it alike gain alike, so only what they disagree about makes noise, and every decision is evidence about all of them;
- a learning rate that adapts to that noise, after Cesa-Bianchi, Mansour & Stoltz (2007), "Improved Second-Order Bounds for
  Prediction with Expert Advice": eta = rate / sqrt(V), V = sum of the gains' variance among the policies;
- a discount on gains and V, so that a policy that became good is found, and a share of weight that each policy keeps, as in
  Fixed-Share (Herbster & Warmuth 1998, "Tracking the Best Expert"); so q_i / p stays bounded, too.

The bounds of these papers hold for experts that do not learn. Policies that learn from what others explored change with
the weights; Corral (Agarwal, Luo, Neyshabur & Schapire 2017) bounds that, but lets each learn from its own decisions only,
importance weighted, which costs more than it gives where all can learn from everything. So there is no bound here.
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# Greatest importance weight, over the number of policies: of our own decisions it is 1 / share at most, and those of others,
# whose propensities may be tiny, must not decide alone.
_GREATEST = 40.0
# V before the first reward, in squared rewards: one disagreement, so that the first few do not decide.
_FIRST = 1.0


class Weights:
    """Weights of m policies. State: m + 3 numbers."""

    def __init__(self, prior: Sequence[float]) -> None:
        """Weights that begin as `prior`, which sums to 1."""
        self._prior = list(prior)
        self._gain = [0.0] * len(prior)  # discounted
        self._variance = _FIRST  # V
        self._mean = 0.0  # b, the discounted mean reward
        self._count = 0.0  # of rewards, discounted

    def current(self, rate: float, share: float) -> list[float]:
        """The weights; `share` of them is spread evenly."""
        eta = rate / sqrt(self._variance)
        best = max(self._gain)
        z = [
            p * _decay(eta * (best - gain)) for p, gain in zip(self._prior, self._gain, strict=True)
        ]
        total = 0.0
        for each in z:
            total += each
        return [(1.0 - share) * each / total + share / len(z) for each in z]

    def learn(
        self, now: Sequence[float], q: Sequence[float], p: float, reward: float, discount: float
    ) -> None:
        """Takes in one reward.

        Args:
            now: the weights before it.
            q: [m] what each policy had given the chosen action.
            p: its propensity.
            reward: in units in which 1 is much.
        """
        most = _GREATEST * len(q)
        gains = [(reward - self._mean) * min(each / p, most) for each in q]
        mean = variance = 0.0
        for weight, gain in zip(now, gains, strict=True):
            mean += weight * gain
        for weight, gain in zip(now, gains, strict=True):
            variance += weight * (gain - mean) * (gain - mean)
        self._gain = [discount * old + gain for old, gain in zip(self._gain, gains, strict=True)]
        # Only differences count; without this they would drown, one day, in what all have gained.
        least = min(self._gain)
        self._gain = [gain - least for gain in self._gain]
        self._variance = discount * self._variance + (1.0 - discount) * _FIRST + variance
        self._count = discount * self._count + 1.0
        self._mean += (reward - self._mean) / self._count

    def dump(self) -> dict[str, NDArray[Any]]:
        """Arrays, for `pack`."""
        rest = [self._variance, self._mean, self._count]
        return {"weights.gain": np.array(self._gain), "weights.rest": np.array(rest)}

    @classmethod
    def load(cls, prior: Sequence[float], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `dump`.

        Raises:
            ValueError, KeyError: they are no such arrays.
        """
        self = cls(prior)
        gain, rest = arrays["weights.gain"].tolist(), arrays["weights.rest"].tolist()
        if len(gain) != len(prior) or not all(isfinite(x) for x in (*gain, *rest)):
            raise ValueError(
                f"weights: {len(gain)} for {len(prior)} policies, or one is not finite"
            )
        self._gain, (self._variance, self._mean, self._count) = gain, rest
        if not (self._variance > 0 and self._count >= 0):
            raise ValueError("weights: a variance or count is not positive")
        return self


def _decay(x: float) -> float:
    """exp(-x) for x >= 0, by the limit that defines it, as (1 + x / 256) ^ -256: + * / have the same bits everywhere, exp has not.

    >>> round(_decay(1.0), 3), _decay(0.0)
    (0.369, 1.0)
    """
    y = 1.0 / (1.0 + x / 256.0)
    for _ in range(8):
        y *= y
    return y
