"""Self-normalised doubly robust: DR whose correction is a weighted average.

Thomas & Brunskill (2016), "Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning" (weighted DR), for one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from simulator.estimators.estimator import Ratio, model

if TYPE_CHECKING:
    from simulator.sample import Column, Sample


@dataclass(frozen=True, slots=True)
class SNDR(Ratio):
    """mean(q_pi) + sum(w (r - q)) / sum(w).

    >>> from simulator.estimators import Sample
    >>> SNDR().value(Sample.of(reward=[1, 0], mu=[0.5, 0.5], pi=[1, 1], q_logged=[0.5, 0.5], q_pi=[0.5, 0.75]))
    0.625
    """

    name: ClassVar[str] = "sndr"
    needs_model: ClassVar[bool] = True

    def terms(self, sample: Sample) -> tuple[Column, Column, Column]:
        """q_pi, w (r - q), w, [n] each.

        Raises:
            NotIdentifiable: a row has no q.
        """
        q, q_pi = model(sample, self.name)
        w = sample.weight
        return q_pi, w * (sample.reward - q), w
