"""Inverse propensity scoring (IPS): rewards, each weighted by how much likelier pi was to take the action.

Horvitz & Thompson (1952); for bandits Dudik, Langford & Li (2011), "Doubly Robust Policy Evaluation and Learning".
`simulator.ips` has the same estimate from running sums, for logs of any length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from simulator.estimators.estimator import Mean
from simulator.sample import Sample

if TYPE_CHECKING:
    from simulator.sample import Column


@dataclass(frozen=True, slots=True)
class IPS(Mean[Sample]):
    """The mean of w r. Unbiased if pi takes no action that mu never takes; its variance grows with the weights.

    >>> IPS().value(Sample.of(reward=[1, 0, 2], mu=[0.5, 0.5, 0.25], pi=[1.0, 0.0, 0.25]))
    1.3333333333333333
    """

    name: ClassVar[str] = "ips"

    def rows(self, sample: Sample) -> Column:
        """w r, [n]."""
        return sample.weight * sample.reward
