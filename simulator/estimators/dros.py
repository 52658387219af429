"""Doubly robust with optimistic shrinkage: weights shrunk smoothly, the great ones most.

Su, Dimakopoulou, Krishnamurthy & Dudik (2020), "Doubly Robust Off-Policy Evaluation with Shrinkage" (arXiv:1907.09623).
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
class DRos(Mean[Sample]):
    """The mean of q_pi + lambda w / (w^2 + lambda) (r - q).

    The shrunk weight is greatest, sqrt(lambda) / 2, at w = sqrt(lambda), and falls beyond.

    >>> DRos(lambda_=4).value(Sample.of(reward=[1], mu=[0.5], pi=[1], q_logged=[0.75], q_pi=[0.75]))
    1.0

    Raises:
        ValueError: lambda is negative.
    """

    name: ClassVar[str] = "dros"
    needs_model: ClassVar[bool] = True
    tuned: ClassVar[str | None] = "lambda_"

    lambda_: float
    """lambda, of the unit of w^2: 0 for the direct method, inf for DR."""

    def __post_init__(self) -> None:
        check_at_least("lambda_", self.lambda_, 0)

    def rows(self, sample: Sample) -> Column:
        """q_pi + lambda w / (w^2 + lambda) (r - q), [n].

        Raises:
            NotIdentifiable: a row has no q.
        """
        q, q_pi = model(sample, self.name)
        return q_pi + self._shrunk(sample.weight) * (sample.reward - q)

    def _shrunk(self, w: Column) -> Column:
        if self.lambda_ == 0:
            return np.zeros_like(w)
        return w / (1 + w * (w / self.lambda_))  # defined for lambda = inf, too
