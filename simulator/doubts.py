"""What to know of an estimate that is given all the same: each doubt is a sentence in its `reason`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.beside import rests_on_range
from simulator.estimators import DM, tunings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.estimators import Estimator
    from simulator.overlap import Overlap
    from simulator.sample import Column, Sample

# Rows whose reward differs from the least, or from the greatest, below which Student's t is not to be trusted: with 3 of 3,000 it
# missed the value in 21% of simulated logs instead of 5%.
FEW = 30
_STUDENT = "Student t"  # how that interval's method begins


def doubts(
    estimator: Estimator[Sample], rows: Sample, overlap: Overlap, interval: str, *, range_met: bool
) -> Iterator[str]:
    """Sentences without a full stop.

    Args:
        rows: that the estimator was valued on.
        overlap: of the whole sample.
        interval: the method of what stands beside the estimate.
        range_met: whether the range of rewards is but that of the rewards that were met.
    """
    if interval and estimator.settings and estimator != tunings(estimator.name, rows)[-1]:
        yield (
            "the interval is for the mean under this setting, which trades bias for variance: the value itself may lie outside"
        )
    if overlap.suspicious and not isinstance(estimator, DM):
        yield (
            f"the mean weight is {overlap.mean_weight:.3g} (z = {overlap.z:.1f}), so the logged propensities may not be those that "
            "were played: see rankd validate"
        )
    if few := few_beside(interval, rows.reward):
        yield few
    if range_met and rests_on_range(interval):
        yield (
            "the interval takes rewards to lie between the least and the greatest that were met, and misses the value more often "
            "where greater ones are possible: say the reward range"
        )


def few_beside(interval: str, reward: Column) -> str:
    """`few_rewards` of rewards [n], if the method of the interval is Student's; "" beside another, or none.

    >>> few_beside("Student t over decisions", np.zeros(800))
    'only 0 of 800 rewards differ from the others, too few for a Student interval'
    >>> few_beside("bootstrap", np.zeros(800)), few_beside("", np.zeros(800))
    ('', '')
    """
    return few_rewards(reward) if interval.startswith(_STUDENT) else ""


def few_rewards(reward: Column) -> str:
    """Why Student's t does not hold for rewards [n] that hardly vary; "" if they do.

    >>> few_rewards(np.zeros(800))
    'only 0 of 800 rewards differ from the others, too few for a Student interval'
    >>> few_rewards(np.arange(800) % 2)
    ''
    """
    if not len(reward):
        return ""
    few = min(np.count_nonzero(reward != end) for end in (reward.min(), reward.max()))
    if few >= FEW:
        return ""
    return f"only {few:,} of {len(reward):,} rewards differ from the others, too few for a Student interval"
