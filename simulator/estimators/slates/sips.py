"""Standard IPS for slates: the slate is one action, its weight the product over its slots.

McInerney et al. (2020), "Counterfactual Evaluation of Slate Recommendations with Sequential Reward Interactions"
(arXiv:2007.12986), where it is the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from simulator.estimators.estimator import Mean
from simulator.estimators.slates.slates import Slates

if TYPE_CHECKING:
    from simulator.sample import Column


@dataclass(frozen=True, slots=True)
class SIPS(Mean[Slates]):
    """The mean of w_1 ... w_L (r_1 + ... + r_L). Assumes nothing of users; weights grow exponentially with L.

    >>> SIPS().value(Slates.of(reward=[[1, 2]], mu=[[0.5, 0.5]], pi=[[1.0, 0.25]]))
    3.0
    """

    name: ClassVar[str] = "sips"

    def rows(self, sample: Slates) -> Column:
        """Weight of the slate times its reward, [n].

        Raises:
            NotIdentifiable: a conditional probability is missing.
        """
        rows: Column = sample.prefix_weight()[:, -1] * sample.reward.sum(axis=1)
        return rows
