"""Self-normalised IPS: the weighted average of rewards.

Swaminathan & Joachims (2015), "The Self-Normalized Estimator for Counterfactual Learning"; in surveys, Hajek (1971).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.estimators.estimator import Ratio

if TYPE_CHECKING:
    from simulator.sample import Column, Sample


@dataclass(frozen=True, slots=True)
class SNIPS(Ratio):
    """sum(w r) / sum(w). Never outside the rewards that were met, and unmoved when all rewards shift by a constant.

    >>> from simulator.estimators import Sample
    >>> SNIPS().value(Sample.of(reward=[1, 0, 2], mu=[0.5, 0.5, 0.25], pi=[1.0, 0.0, 0.25]))
    1.3333333333333333
    """

    name: ClassVar[str] = "snips"

    def terms(self, sample: Sample) -> tuple[Column, Column, Column]:
        """0, w r, w, [n] each."""
        w = sample.weight
        return np.broadcast_to(np.float64(0.0), len(sample)), w * sample.reward, w
