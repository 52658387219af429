"""Independent IPS for slates: each slot by itself, with its own marginal weight.

Li et al. (2018), "Offline Evaluation of Ranking Policies with Click Models" (arXiv:1804.10488), the item-position model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from simulator.estimators.estimator import Mean
from simulator.estimators.slates.slates import Slates

if TYPE_CHECKING:
    from simulator.sample import Column


@dataclass(frozen=True, slots=True)
class IIPS(Mean[Slates]):
    """The mean of sum_l pi(a_l | x) / mu(a_l | x) r_l, from marginals.

    Assumes that a slot's reward depends on its own action only: where users look from top to bottom, it is biased.

    >>> marginals = {"mu_marginal": [[0.5, 0.5]], "pi_marginal": [[1, 0.25]]}
    >>> IIPS().value(Slates.of(reward=[[1, 2]], mu=[[0.5, 1]], pi=[[1, 1]], **marginals))
    3.0
    """

    name: ClassVar[str] = "iips"

    def rows(self, sample: Slates) -> Column:
        """Sum over slots of marginal weight times reward, [n].

        Raises:
            NotIdentifiable: a marginal probability is missing.
        """
        rows: Column = (sample.marginal_weight() * sample.reward).sum(axis=1)
        return rows
