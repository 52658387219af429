"""IPS with weights clipped at M.

Ionides (2008), "Truncated Importance Sampling"; for bandits Bottou et al. (2013), "Counterfactual Reasoning and Learning
Systems".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.estimators.estimator import Mean, check_at_least
from simulator.sample import Sample

if TYPE_CHECKING:
    from simulator.sample import Column


@dataclass(frozen=True, slots=True)
class ClippedIPS(Mean[Sample]):
    """The mean of min(w, M) r. With rewards >= 0 its bias is downwards, the less the greater M.

    >>> ClippedIPS(clip=2).value(Sample.of(reward=[1, 1], mu=[0.1, 0.5], pi=[1.0, 0.5]))
    1.5

    Raises:
        ValueError: the clip is negative.
    """

    name: ClassVar[str] = "clipped"
    tuned: ClassVar[str | None] = "clip"

    clip: float
    """M, the greatest weight that counts in full: 0 or more, inf for plain IPS."""

    def __post_init__(self) -> None:
        check_at_least("clip", self.clip, 0)

    def rows(self, sample: Sample) -> Column:
        """min(w, M) r, [n]."""
        return np.minimum(sample.weight, self.clip) * sample.reward
