"""What a sample says of a policy: each estimate with its interval, or why there is none.

A policy that the log says too little about gets no number, because a wrong one would be believed. What was refused can be shown
all the same (`force`); it stays marked as not identifiable.

Which interval stands beside an estimate: see `simulator.beside`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from simulator.beside import interval_beside, scatter_tells
from simulator.doubts import doubts, few_beside
from simulator.estimators import ESTIMATORS, Estimator, create, slope, split, tunings
from simulator.intervals import INTERVALS, Evidence
from simulator.ips import NotIdentifiable
from simulator.overlap import Overlap, refusal
from simulator.targets import FROZEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from simulator.sample import Column, Sample

_UNTUNED = (
    "not tuned: the policy learned on the way, and rows on which it knew little would choose a setting that cuts away "
    "what it did later"
)

ONE_LOOK = "for one look, not for peeking"

# Of a difference, as a share of the greatest reward: products of probabilities in float64 are right to about 1e-16.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Estimate:
    """One answer, in reward units."""

    value: float | None
    """None where it was refused."""
    low: float | None
    high: float | None
    interval: str
    """The interval's method; "" if there is none."""
    identifiable: bool
    reason: str
    """Why it was refused, or has no interval, or was not tuned; "" if there is nothing to say."""
    setting: str = ""
    """The estimator with its setting, where SLOPE chose one."""
    n: int | None = None
    """The rows that it is a mean of; None where it was refused, or is of lives, whose rounds differ."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a sample says of one policy."""

    n: int
    estimators: dict[str, Estimate]
    vs_logged: Estimate
    """By how much the first estimate differs from the log's own mean reward, row by row."""
    overlap: Overlap
    reason: str
    """Why overlap does not suffice; "" if it does."""


def logged(sample: Sample, alpha: float = 0.05) -> Estimate:
    """The log's own mean reward: what was really earned."""
    return mean(sample.reward, alpha, sample.decision)


def mean(rows: Column, alpha: float = 0.05, decision: NDArray[np.intp] | None = None) -> Estimate:
    """The mean of rows [n], rewards or differences, with Student's interval; refused where there are none.

    Args:
        decision: the number of each row's decision, where decisions have several rows; see `Sample.decision`.
    """
    if not len(rows):
        return refused("there are no rows yet")
    value = float(rows.mean())
    try:
        interval = INTERVALS["normal"](Evidence(rows, decision=decision), alpha)
    except NotIdentifiable as error:
        return Estimate(value, None, None, "", True, str(error), n=len(rows))
    return Estimate(value, interval.low, interval.high, interval.method, True, "", n=len(rows))


def for_one_look(difference: Estimate, interval: str | None) -> Estimate:
    """A difference, marked where the estimates beside it have an interval that one may look at again and again, and it has not.

    Args:
        interval: of the estimates, by name.
    """
    if interval != "confidence_sequence" or difference.low is None:
        return difference
    return replace(difference, interval=f"{difference.interval}, {ONE_LOOK}")


def refused(reason: str) -> Estimate:
    """No value, and why."""
    return Estimate(None, None, None, "", False, reason)


def evaluate(
    sample: Sample,
    actions: ArrayLike,
    estimand: str,
    names: Sequence[str],
    reward_range: tuple[float, float],
    *,
    alpha: float = 0.05,
    force: bool = False,
    interval: str | None = None,
    range_met: bool = False,
    own: Mapping[str, Sample] | None = None,
) -> Evaluation:
    """Every estimator's answer.

    Args:
        sample: of one policy.
        actions: how many there were to choose from, one number or [n]; for the remedy of a refusal.
        estimand: "frozen" or "trained_on_log".
        names: of estimators; one with a setting has it chosen by SLOPE on the first 30% of the rows, and is valued on the rest. For a policy
            that learned on the way it stays at the setting without bias, and `reason` says why.
        reward_range: (lowest, highest) reward that a decision can have.
        alpha: in (0, 1), the share of logs whose interval misses the value.
        force: whether to give numbers that should not be believed, too.
        interval: by name; see `simulator.intervals`. None for the one that suits the estimator. Where it does not hold, there is
            a value without interval, and the reason.
        range_met: whether `reward_range` is but that of the rewards that were met. An interval that rests on it says so.
        own: the samples of estimators that have a q of their own (mrdr), of the same rows.

    Raises:
        ValueError: there is no such estimator or interval.
    """
    overlap = Overlap.of(sample)
    reason = refusal(sample, actions=actions) or ""
    silent = reason and not force
    samples = dict.fromkeys(names, sample) | dict(own or {})
    found: dict[str, Estimate] = {}
    versus = refused("")
    for name in names:  # one influence at a time: at 10 million rows it is 80 MB
        valued = reason if silent else _valued(name, samples[name], estimand)
        if not found:
            versus = _doubted(_versus(valued, alpha, reason), valued, overlap, range_met=range_met)
            versus = for_one_look(versus, interval)
        each = _estimate(valued, estimand, reward_range, alpha, reason, interval)
        found[name] = _doubted(each, valued, overlap, range_met=range_met)
        del valued
    return Evaluation(len(sample), found, versus, overlap, reason)


def _doubted(
    each: Estimate, valued: _Valued | str, overlap: Overlap, *, range_met: bool
) -> Estimate:
    """With what is to be known of it; what was refused is not doubted."""
    if isinstance(valued, str) or each.value is None:
        return each
    more = doubts(valued.estimator, valued.rows, overlap, each.interval, range_met=range_met)
    return replace(each, reason="; ".join(dict.fromkeys(filter(None, (each.reason, *more)))))


def difference(one: Sample, other: Sample, name: str, alpha: float = 0.05) -> Estimate:
    """By how much one policy's value exceeds another's, paired row by row; an estimator with a setting has none.

    Raises:
        ValueError: there is no such estimator.
    """
    if _tuned(name):
        return refused(f"{name} has a setting that differs between policies")
    estimator = create(name)
    try:
        scatter_tells(estimator)
        rows = estimator.influence(one) - estimator.influence(other)
        return with_few(mean(rows, alpha, one.decision), one.reward)
    except NotIdentifiable as error:
        return refused(str(error))


def with_few(each: Estimate, reward: Column) -> Estimate:
    """With the doubt that so few rewards [n] vary, if its interval is one that does not hold then."""
    few = few_beside(each.interval, reward)
    return replace(each, reason="; ".join(filter(None, (each.reason, few)))) if few else each


class _Valued(NamedTuple):
    """An estimator, the rows that it may be valued on, and its influence there."""

    estimator: Estimator[Sample]
    rows: Sample
    influence: Column


def _valued(name: str, sample: Sample, estimand: str) -> _Valued | str:
    """Or why it has no value."""
    try:
        estimator, rows = _chosen(name, sample, estimand)
        return _Valued(estimator, rows, estimator.influence(rows))
    except NotIdentifiable as error:
        return str(error)


def _estimate(
    valued: _Valued | str,
    estimand: str,
    reward_range: tuple[float, float],
    alpha: float,
    reason: str,
    method: str | None,
) -> Estimate:
    if isinstance(valued, str):
        return refused(valued)
    estimator, rows, influence = valued
    value, setting = float(influence.mean()), repr(estimator) if estimator.settings else ""
    note = _UNTUNED if setting and estimand != FROZEN else ""
    try:
        interval = interval_beside(
            estimator, rows, influence, estimand, reward_range, alpha, method
        )
    except NotIdentifiable as error:
        why = reason or str(error)
        return Estimate(value, None, None, "", not reason, why, setting, len(rows))
    low, high, by = interval.low, interval.high, interval.method
    return Estimate(value, low, high, by, not reason, reason or note, setting, len(rows))


def _chosen(name: str, sample: Sample, estimand: str) -> tuple[Estimator[Sample], Sample]:
    """The estimator, and the rows that it may be valued on."""
    if not _tuned(name):
        return create(name), sample
    if estimand != FROZEN:
        return tunings(name, sample)[-1], sample
    earlier, later = split(sample)
    return slope(tunings(name, earlier), earlier).chosen, later


def _tuned(name: str) -> bool:
    """Whether it has a setting to choose. Names that there are not are `create`'s to refuse."""
    return name in ESTIMATORS and ESTIMATORS[name].tuned is not None


def _versus(valued: _Valued | str, alpha: float, reason: str) -> Estimate:
    if isinstance(valued, str):
        return refused(valued)
    rows = valued.rows
    excess = valued.influence - rows.reward
    # Weights of 1 that were rounded are no difference, however sure one could be of it.
    greatest = max(rows.reward.max(initial=0.0), -rows.reward.min(initial=0.0))
    least = _ROUNDING * float(greatest)
    excess[(excess < least) & (excess > -least)] = (
        0.0  # no column of absolute values: 80 MB at 10 million rows
    )
    try:
        scatter_tells(valued.estimator)
    except NotIdentifiable as error:
        why = reason or str(error)
        return Estimate(float(excess.mean()), None, None, "", not reason, why, n=len(rows))
    found = mean(excess, alpha, rows.decision)
    return replace(found, identifiable=not reason, reason=reason or found.reason)
