"""The direct method: what a reward model expects, no reward looked at.

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
class DM(Mean[Sample]):
    """The mean of sum_b pi(b) q(x, b). As biased as the model is, and its standard error knows nothing of that.

    >>> DM().value(Sample.of(reward=[0, 0], mu=[1, 1], pi=[1, 1], q_logged=[0, 0], q_pi=[0.25, 0.75]))
    0.5
    """

    name: ClassVar[str] = "dm"
    needs_model: ClassVar[bool] = True

    def rows(self, sample: Sample) -> Column:
        """The mean of q under pi, [n].

        Raises:
            NotIdentifiable: a row has no q.
        """
        return model(sample, self.name)[1]
