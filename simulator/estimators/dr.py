"""Doubly robust: the model's answer, put right by IPS of what the model got wrong.

Dudik, Langford & Li (2011), "Doubly Robust Policy Evaluation and Learning".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from simulator.estimators.estimator import Mean, model
from simulator.sample import Sample

if TYPE_CHECKING:
    from simulator.sample import Column


@dataclass(frozen=True, slots=True)
class DR(Mean[Sample]):
    """The mean of q_pi + w (r - q). Unbiased whenever IPS is, whatever the model, if the model has not seen these rows.

    >>> DR().value(Sample.of(reward=[1], mu=[0.5], pi=[1], q_logged=[0.75], q_pi=[0.75]))
    1.25
    """

    name: ClassVar[str] = "dr"
    needs_model: ClassVar[bool] = True

    def rows(self, sample: Sample) -> Column:
        """q_pi + w (r - q), [n].

        Raises:
            NotIdentifiable: a row has no q.
        """
        q, q_pi = model(sample, self.name)
        return q_pi + sample.weight * (sample.reward - q)
