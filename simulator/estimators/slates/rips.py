"""Reward interaction IPS for slates: each slot with the weight of the slots up to it.

McInerney et al. (2020), "Counterfactual Evaluation of Slate Recommendations with Sequential Reward Interactions"
(arXiv:2007.12986). This is its plain form, as in Kiyohara et al. (2022); the paper also normalises the weights of each slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from simulator.estimators.estimator import Mean
from simulator.estimators.slates.slates import Slates

if TYPE_CHECKING:
    from simulator.sample import Column


@dataclass(frozen=True, slots=True)
class RIPS(Mean[Slates]):
    """The mean of sum_l w_1 ... w_l r_l.

    Assumes a cascade, that a slot's reward depends on its own action and those above it. The weight is that of the
    marginal probability of the first l slots, which is the product of their conditionals because slots are drawn
    from the top; from a sampler that draws in another order these conditionals cannot be had, and must be NaN.

    >>> RIPS().value(Slates.of(reward=[[1, 2]], mu=[[0.5, 0.5]], pi=[[1.0, 0.25]]))
    4.0
    """

    name: ClassVar[str] = "rips"

    def rows(self, sample: Slates) -> Column:
        """Sum over slots of the weight so far times reward, [n].

        Raises:
            NotIdentifiable: a conditional probability is missing.
        """
        rows: Column = (sample.prefix_weight() * sample.reward).sum(axis=1)
        return rows
