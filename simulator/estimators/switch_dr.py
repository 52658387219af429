"""SWITCH: doubly robust where the weight is bearable, the model alone where it is not.

Wang, Agarwal & Dudik (2017), "Optimal and Adaptive Off-policy Evaluation in Contextual Bandits" (arXiv:1612.01205).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.estimators.estimator import Mean, check_at_least, model
from simulator.sample import Sample

if TYPE_CHECKING:
    from simulator.sample import Column


@dataclass(frozen=True, slots=True)
class SwitchDR(Mean[Sample]):
    """The mean of q_pi + w 1[w <= tau] (r - q).

    The paper's sum over actions with w > tau needs no column of its own: DR on the others already has q_pi over all.

    >>> one = Sample.of(reward=[1], mu=[0.5], pi=[1], q_logged=[0.75], q_pi=[0.75])
    >>> SwitchDR(tau=2).value(one), SwitchDR(tau=1).value(one)
    (1.25, 0.75)

    Raises:
        ValueError: tau is negative.
    """

    name: ClassVar[str] = "switch-dr"
    needs_model: ClassVar[bool] = True
    tuned: ClassVar[str | None] = "tau"

    tau: float
    """The greatest weight that is used: 0 for the direct method, inf for DR."""

    def __post_init__(self) -> None:
        check_at_least("tau", self.tau, 0)

    def rows(self, sample: Sample) -> Column:
        """q_pi + w 1[w <= tau] (r - q), [n].

        Raises:
            NotIdentifiable: a row has no q.
        """
        q, q_pi = model(sample, self.name)
        w = sample.weight
        return q_pi + np.where(w <= self.tau, w, 0.0) * (sample.reward - q)
