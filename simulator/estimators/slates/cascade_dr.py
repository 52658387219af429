"""Cascade doubly robust: RIPS with a model of what the rest of the slate will earn.

Kiyohara et al. (2022), "Doubly Robust Off-Policy Evaluation for Ranking Policies under the Cascade Behavior Model"
(arXiv:2202.01562).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.estimators.estimator import Mean
from simulator.estimators.slates.slates import Slates
from simulator.ips import NotIdentifiable

if TYPE_CHECKING:
    from simulator.sample import Column


@dataclass(frozen=True, slots=True)
class CascadeDR(Mean[Slates]):
    """The mean of sum_l w_1 ... w_l (r_l - q_l) + w_1 ... w_l-1 q_pi,l.

    Unbiased where RIPS is, whatever the model, if the model has not seen these rows. Mind that q_l is of slots l to
    L together: with q = 0 it is RIPS, with one slot it is DR.

    >>> one = Slates.of(reward=[[1, 2]], mu=[[0.5, 0.5]], pi=[[1.0, 0.25]], q_logged=[[3, 1]], q_pi=[[3, 1.5]])
    >>> CascadeDR().value(one)  # 2 (1 - 3) + 1 * 3 + 1 (2 - 1) + 2 * 1.5
    3.0
    """

    name: ClassVar[str] = "cascade-dr"
    needs_model: ClassVar[bool] = True

    def rows(self, sample: Slates) -> Column:
        """The row's sum over slots, [n].

        Raises:
            NotIdentifiable: a conditional probability is missing, or q where its weight is not 0.
        """
        w = sample.prefix_weight()
        before = np.ones_like(w)
        before[:, 1:] = w[:, :-1]
        # Below a slot that pi would not have filled so, there may be no q, and none is needed.
        q = np.where(w > 0, sample.q_logged, 0.0)
        q_pi = np.where(before > 0, sample.q_pi, 0.0)
        if (missing := ~(np.isfinite(q) & np.isfinite(q_pi))).any():
            row, slot = (int(index) for index in np.argwhere(missing)[0])
            raise NotIdentifiable(
                f"cascade-dr needs q and row {row}, slot {slot} has none; fit a model of the reward from each slot on, "
                "on other rows than these, or take rips"
            )
        rows: Column = (w * (sample.reward - q) + before * q_pi).sum(axis=1)
        return rows
