"""What a log of slates says of a policy: as `simulator.evaluation`, for estimators that take slates.

Rows of one slate belong together: the estimate is a mean over slates, and so is its interval, whatever slots have in common.
Each estimator is refused by its own weights. A slate has too many possible fillings to look ahead through pmfs, so overlap is
judged by the weights that were met; where rare slates were not met it looks better than it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simulator.estimators.slates import IIPS, SLATE_ESTIMATORS, PseudoInverse
from simulator.evaluation import Estimate, Evaluation, mean, refused, with_few
from simulator.intervals import INTERVALS, Evidence
from simulator.ips import NotIdentifiable
from simulator.overlap import Overlap, refusal
from simulator.sample import Sample
from simulator.targets import FROZEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.estimators.slates import Slates
    from simulator.sample import Column

# Student's t and the bootstrap need rows only; the others take weights of single decisions, or what whole pmfs tell.
INTERVALS_OF_SLATES = ("normal", "bootstrap")
_SEED = 1  # of the bootstrap's draws, so that one log has one interval
_MARGINAL = (IIPS.name, PseudoInverse.name)


class _Valued(NamedTuple):
    influence: Column  # [n]
    reason: str  # why it is not to be believed; "" if it is


def evaluate_slates(
    slates: Slates,
    estimand: str,
    names: Sequence[str],
    *,
    alpha: float = 0.05,
    force: bool = False,
    interval: str = "normal",
) -> Evaluation:
    """Every slate estimator's answer; the value of a slate is the sum of its slots' rewards.

    Args:
        slates: of one policy, at least one.
        estimand: "frozen" or "trained_on_log".
        names: of slate estimators.
        alpha: in (0, 1), the share of logs whose interval misses the value.
        force: whether to give numbers that should not be believed, too.
        interval: "normal", or "bootstrap" over slates, for a frozen policy.

    Raises:
        ValueError: there is no such estimator or interval.
    """
    if interval not in INTERVALS_OF_SLATES:
        raise ValueError(
            f"interval {interval}: slates have {' and '.join(INTERVALS_OF_SLATES)} only"
        )
    valued = {name: _valued(name, slates, force=force) for name in names}
    earned = slates.reward.sum(axis=1)
    found = {
        name: with_few(_estimate(each, estimand, alpha, interval), earned)
        for name, each in valued.items()
    }
    first = valued[names[0]]
    versus = refused(first) if isinstance(first, str) else _minus(first, earned, alpha)
    reasons = {each if isinstance(each, str) else each.reason for each in valued.values()}
    common = reasons.pop() if len(reasons) == 1 else ""
    return Evaluation(len(slates), found, versus, Overlap.of(slates.whole()), common)


def slate_difference(
    one: Slates, other: Slates, name: str, alpha: float = 0.05, *, force: bool = False
) -> Estimate:
    """By how much one policy's value exceeds another's, paired slate by slate.

    Args:
        force: whether to give a number that should not be believed, too, marked.

    Raises:
        ValueError: there is no such estimator.
    """
    pair = []
    for each in (one, other):
        valued = _valued(name, each, force=force)
        if isinstance(valued, str):
            return refused(valued)
        pair.append(valued)
    found = mean(pair[0].influence - pair[1].influence, alpha)
    reason = "; ".join(dict.fromkeys(each.reason for each in pair if each.reason))
    if reason:
        found = replace(found, identifiable=False, reason=reason)
    return with_few(found, one.reward.sum(axis=1))


def _valued(name: str, slates: Slates, *, force: bool) -> _Valued | str:
    """Or why it has no value."""
    if name not in SLATE_ESTIMATORS:
        raise ValueError(f"no slate estimator {name!r}; known are {', '.join(SLATE_ESTIMATORS)}")
    try:
        influence = SLATE_ESTIMATORS[name]().influence(slates)
        reason = _overlap(name, slates)
    except NotIdentifiable as error:
        return str(error)
    return reason if reason and not force else _Valued(influence, reason)


def _overlap(name: str, slates: Slates) -> str:
    """Why the weights of this estimator do not suffice, at the slot where they are worst; "" if they do."""
    if name not in _MARGINAL:  # the weight so far grows from slot to slot
        return refusal(slates.whole()) or ""
    worst = []
    for slot in range(slates.reward.shape[1]):
        columns = (slates.reward, slates.mu_marginal, slates.pi_marginal)
        sample = Sample.of(*(column[:, slot] for column in columns))
        reason = refusal(sample)
        if reason:
            worst.append((Overlap.of(sample).ess, f"slot {slot + 1}: {reason}"))
    return min(worst)[1] if worst else ""


def _estimate(valued: _Valued | str, estimand: str, alpha: float, interval: str) -> Estimate:
    if isinstance(valued, str):
        return refused(valued)
    influence, reason = valued
    value = float(influence.mean())
    generator = np.random.default_rng(_SEED)
    evidence = Evidence(influence, adaptive=estimand != FROZEN, generator=generator)
    try:
        found = INTERVALS[interval](evidence, alpha)
    except NotIdentifiable as error:
        why = reason or str(error)
        return Estimate(value, None, None, "", not reason, why, n=len(influence))
    low, high, n = found.low, found.high, len(influence)
    return Estimate(value, low, high, found.method, not reason, reason, n=n)


def _minus(valued: _Valued, earned: Column, alpha: float) -> Estimate:
    """Minus what the log's own slates earned, [n]."""
    found = mean(valued.influence - earned, alpha)
    reason = valued.reason
    found = replace(found, identifiable=not reason, reason=reason or found.reason)
    return with_few(found, earned)
