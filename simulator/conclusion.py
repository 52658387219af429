"""What a pass over a log comes to: of each policy its estimates and differences, and all of it as one plain object."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.estimators import MRDR
from simulator.evaluation import (
    Estimate,
    difference,
    evaluate,
    for_one_look,
    logged,
    refused,
    with_few,
)
from simulator.targets import AS_SERVED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.evaluation import Evaluation
    from simulator.replay import Pass, Replayed
    from simulator.sample import Sample


class Result(NamedTuple):
    """What is said of one policy."""

    evaluation: Evaluation
    vs_first: Estimate | None


def conclude(
    found: Pass,
    mrdr: Sequence[Sample],
    estimators: Sequence[str],
    limits: tuple[float, float],
    *,
    alpha: float,
    force: bool,
    interval: str | None,
    range_met: bool = False,
    doubt: str = "",
) -> list[Result]:
    """What is said of each policy.

    Args:
        mrdr: for each policy its sample with the q that was fitted for it; empty if mrdr was not asked for.
        range_met: whether `limits` are but the rewards that were met.
        doubt: why the policy that ran is not to be believed.
    """
    samples = mrdr if estimators[0] == MRDR.name else [one.sample for one in found.replayed]
    results: list[Result] = []
    for i, one in enumerate(found.replayed):
        estimand = one.target.estimand
        evaluation = evaluate(
            one.sample,
            one.actions,
            estimand,
            estimators,
            limits,
            alpha=alpha,
            force=force,
            interval=interval,
            range_met=range_met,
            own={MRDR.name: mrdr[i]} if mrdr else None,
        )
        if doubt and estimand == AS_SERVED:
            evaluation = _doubted(evaluation, doubt, force=force)
        versus = None
        if i:
            why = _reason(found.replayed[0], results[0]) or evaluation.reason
            versus = _versus(samples[i], samples[0], estimators[0], alpha, why, force=force)
            versus = for_one_look(versus, interval)
        results.append(Result(evaluation, versus))
    return results


def _reason(first: Replayed, result: Result) -> str:
    """Why nothing can be compared with the first policy; "" if it can."""
    reason = result.evaluation.reason
    return reason and f"the first policy, {first.target.name}, is refused: {reason}"


def _versus(
    one: Sample, first: Sample, name: str, alpha: float, reason: str, *, force: bool
) -> Estimate:
    """The difference, unless one of the two should not be believed."""
    if reason and not force:
        return refused(reason)
    found = difference(one, first, name, alpha)
    if not reason:
        return found
    return with_few(replace(found, identifiable=False, reason=reason), one.reward)


def _doubted(evaluation: Evaluation, reason: str, *, force: bool) -> Evaluation:
    """Without its numbers, or with them, marked."""

    def marked(each: Estimate) -> Estimate:
        if force:
            return replace(each, identifiable=False, reason=reason)
        return refused(reason)

    found = {name: marked(each) for name, each in evaluation.estimators.items()}
    return replace(
        evaluation, estimators=found, vs_logged=marked(evaluation.vs_logged), reason=reason
    )


def with_doubt(result: Result, doubt: str) -> Result:
    """With a sentence about the policy beside each of its numbers; "" says nothing."""

    def told(each: Estimate) -> Estimate:
        if not doubt or each.value is None:
            return each
        return replace(each, reason="; ".join(filter(None, (each.reason, doubt))))

    evaluation, versus = result
    found = {name: told(each) for name, each in evaluation.estimators.items()}
    evaluation = replace(evaluation, estimators=found, vs_logged=told(evaluation.vs_logged))
    return Result(evaluation, None if versus is None else told(versus))


def summary(
    found: Pass, results: Sequence[Result], seconds: float | None, alpha: float
) -> dict[str, Any]:
    """As `rankd replay --json` has it.

    Args:
        seconds: that the pass took; None leaves them out.
    """
    first = found.replayed[0].sample
    own = logged(first, alpha)
    rows = []
    for one, (evaluation, versus) in zip(found.replayed, results, strict=True):
        row = {"policy": one.target.name, "n": evaluation.n, "estimand": one.target.estimand}
        row |= {"estimators": {name: _plain(each) for name, each in evaluation.estimators.items()}}
        of = {"estimator": next(iter(evaluation.estimators))}
        row |= {"vs_logged": of | _plain(evaluation.vs_logged)}
        if versus is not None:
            row |= {"vs_first": of | _plain(versus)}
        rows.append(row | _overlap(evaluation) | ({} if seconds is None else {"seconds": seconds}))
    summary: dict[str, Any] = {
        "logged": {"value": own.value, "low": own.low, "high": own.high, "n": len(first)}
    }
    return {**summary, "decisions": found.decided, "policies": rows}


def _plain(estimate: Estimate) -> dict[str, Any]:
    numbers = {name: _finite(getattr(estimate, name)) for name in ("value", "low", "high")}
    return asdict(estimate) | numbers


def _overlap(result: Evaluation) -> dict[str, Any]:
    overlap = result.overlap
    return {
        "ess": _finite(overlap.ess),
        "max_weight": _finite(overlap.max_weight),
        "mean_weight": _finite(overlap.mean_weight),
        "unsupported_mass": _finite(overlap.unsupported),
    }


def _finite(number: float | None) -> float | None:
    """JSON has no infinity and no NaN."""
    return number if number is not None and math.isfinite(number) else None
