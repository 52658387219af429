"""SLOPE++: which of several estimators, or which setting of one, from the log itself.

Su, Srinath & Krishnamurthy (2020), "Adaptive Estimator Selection for Off-Policy Evaluation" (arXiv:2002.07729); Tucker &
Lee (2021), "Improved Estimator Selection for Off-Policy Evaluation" (SLOPE++), with its constant and its order.

The idea (Lepski's). The estimators theta_i are ordered by falling width CNF_i of their confidence intervals: the first are
uncertain but little biased, the last are certain but biased. Go along as long as each new one is still within what the
earlier ones allow, |theta_i - theta_j| <= CNF_i + (sqrt(6) - 1) CNF_j for all j < i, and keep the last that was.
If bias rises in that order, the error is within a constant of the best one's.

Whatever is chosen was chosen on these rows: an interval from the same rows is too narrow. Take it from later ones (`split`).
That is then an interval for the mean of the chosen estimator, which is off the value by what bias these rows could not tell
from noise: up to about CNF_i + 1.45 CNF_j.

Not for a policy that learns from the log. Its weights are near 1 while it knows nothing, so the first rows let any clip
pass, and most of what it does later is cut away. Choosing on rows from all over the log only halves that: SLOPE bears a bias
that a third of the rows cannot tell, on rows that would have told it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit

from simulator.estimators.estimator import standard_error
from simulator.ips import NotIdentifiable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.estimators.estimator import Estimator
    from simulator.sample import Sample

_C = sqrt(6) - 1


class Candidate(NamedTuple):
    """One estimator on the rows that were used to choose."""

    estimator: Estimator[Sample]
    value: float  # theta
    half_width: float  # CNF


@dataclass(frozen=True, slots=True)
class Selection:
    """What SLOPE++ chose, and from what."""

    chosen: Estimator[Sample]
    candidates: tuple[Candidate, ...]
    """All of them, the widest first; those up to and including the chosen one agree with each other."""


def slope(
    estimators: Sequence[Estimator[Sample]], sample: Sample, delta: float = 0.05
) -> Selection:
    """Chooses one of the estimators.

    Widths are Student's t, at delta over the number of estimators. They come from rows that were met: where mu hardly
    ever takes what pi wants, IPS looks more certain than it is.

    Args:
        estimators: the candidates, at least one of them (nearly) unbiased. Of equal widths the later one wins: give the
            less biased last.
        sample: the rows to choose on, two at least. The interval must come from others.
        delta: in (0, 1), the share of samples in which some estimator's width may be too small.

    >>> from simulator.estimators import ClippedIPS, Sample
    >>> rare = Sample.of(reward=[1, 1] * 50, mu=[0.01, *[0.9] * 99], pi=[0.5] * 100)
    >>> slope([ClippedIPS(inf), ClippedIPS(1.0)], rare).chosen
    ClippedIPS(clip=1.0)

    Raises:
        NotIdentifiable: fewer than two rows, or an estimator cannot be had from this sample.
        ValueError: there are no estimators, or delta is out of its range.
    """
    if not estimators:
        raise ValueError("estimators: must not be empty")
    if not 0 < delta < 1:
        raise ValueError(f"delta {delta}: must be in (0, 1)")
    n = len(sample)
    if n < 2:
        raise NotIdentifiable(f"{n} rows: SLOPE needs two at least to choose")
    count = n if sample.decision is None else len(np.unique(sample.decision))
    if count < 2:
        raise NotIdentifiable("all rows are of one decision: SLOPE needs two at least to choose")
    quantile = float(stdtrit(count - 1, 1 - delta / (2 * len(estimators))))
    candidates = []
    for estimator in estimators:
        influence = estimator.influence(sample)
        half_width = quantile * standard_error(influence, sample.decision)
        candidates.append(Candidate(estimator, float(influence.mean()), half_width))
    candidates.sort(key=lambda candidate: -candidate.half_width)
    chosen = candidates[0]
    for i, new in enumerate(candidates):
        if any(abs(new.value - old.value) > _reach(new, old) for old in candidates[:i]):
            break
        chosen = new
    return Selection(chosen.estimator, tuple(candidates))


def thresholds(sample: Sample, size: int = 8) -> list[float]:
    """Where to clip or switch, for SLOPE to choose from: from 1 to the greatest weight met, in equal ratios, and inf.

    Ascending. For DRos square them: its lambda has the unit of w^2.

    >>> from simulator.estimators import Sample
    >>> thresholds(Sample.of(reward=[0, 0], mu=[0.25, 1.0], pi=[1.0, 1.0]), size=4)
    [1.0, 2.0, 4.0, inf]

    Raises:
        NotIdentifiable: there are no rows.
        ValueError: size is less than 3.
    """
    if size < 3:
        raise ValueError(f"size {size}: must be at least 3")
    if not len(sample):
        raise NotIdentifiable("there are no rows yet")
    most = float(sample.weight.max())
    if most <= 1:
        return [1.0, inf]
    return [*np.geomspace(1.0, most, size - 1).tolist(), inf]


def split(sample: Sample, share: float = 0.3) -> tuple[Sample, Sample]:
    """The earlier rows, to choose an estimator on, and the later ones, for estimate and interval. They share no row.

    By log order, not by chance: rows of one user or one moment stay on one side, but for those at the seam. Rows of one decision
    all stay on one.

    Args:
        sample: rows in log order.
        share: of the rows that go to the choice, in (0, 1); rounded down.

    >>> from simulator.estimators import Sample
    >>> earlier, later = split(Sample.of(reward=[1, 2, 3, 4], mu=[1] * 4, pi=[1] * 4), share=0.25)
    >>> earlier.reward.tolist(), later.reward.tolist()
    ([1.0], [2.0, 3.0, 4.0])

    Raises:
        ValueError: share is out of its range.
        NotIdentifiable: one side would be empty.
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share}: must be in (0, 1)")
    n = len(sample)
    earlier = int(share * n)
    if sample.decision is not None:  # back to where the decision begins that would be cut
        earlier = int(np.searchsorted(sample.decision, sample.decision[earlier]))
    if not 0 < earlier < n:
        raise NotIdentifiable(f"{n} rows: too few to set {share:g} of them aside")
    return sample.rows(slice(0, earlier)), sample.rows(slice(earlier, n))


def _reach(new: Candidate, old: Candidate) -> float:
    rounding = 1e-12 * max(abs(new.value), abs(old.value))  # of two equal estimates without spread
    return new.half_width + _C * old.half_width + rounding
