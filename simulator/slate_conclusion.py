"""What whole slates would have earned: a pass with estimators for slates, and what it comes to, as `simulator.conclusion` has it for slots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.conclusion import Result
from simulator.estimators.slates import SLATE_ESTIMATORS, PseudoInverse
from simulator.replay import Pass, Replayed
from simulator.slate_evaluation import INTERVALS_OF_SLATES, evaluate_slates, slate_difference
from simulator.slates import SlatePass, replay_slates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.fitting import Fitting
    from simulator.logs import Log
    from simulator.targets import Target


def check_slates(estimators: Sequence[str], cross_fit: int | None, interval: str | None) -> None:
    """Refuses what does not go with estimators of slates.

    Raises:
        ValueError: some of them take a single slot, or there are cross-fitting or an interval that slates do not have.
    """
    other = [each for each in estimators if each not in SLATE_ESTIMATORS]
    if other:
        slates = next(each for each in estimators if each in SLATE_ESTIMATORS)
        raise ValueError(
            f"estimator {slates} takes a slate for a row, {other[0]} a single slot; ask for one kind at a time"
        )
    if cross_fit is not None:
        raise ValueError(
            f"cross-fitting: not with estimator {estimators[0]}; its model learns on the way"
        )
    if interval not in (None, *INTERVALS_OF_SLATES):
        raise ValueError(
            f"interval {interval}: slates have {' and '.join(INTERVALS_OF_SLATES)} only"
        )


def replayed_slates(
    log: Log,
    targets: Sequence[Target],
    estimators: Sequence[str],
    fitting: Fitting,
    progress: Callable[[int], None] | None,
) -> SlatePass:
    """One pass, with a reward model where an estimator needs it.

    Raises:
        PolicyError, LogFormatError, ValueError: as `replay_slates`.
    """
    needs = any(SLATE_ESTIMATORS[name].needs_model for name in estimators)
    model = fitting.progressive() if needs else None
    pairs = PseudoInverse.name in estimators
    return replay_slates(log, targets, model, progress, pseudo_inverse=pairs)


def as_pass(found: SlatePass) -> Pass:
    """With each slate as one action, for all that is said of logs and weights.

    Raises:
        NotIdentifiable: a policy's probability of a logged slate is not known.
    """
    replayed = [Replayed(one.target, one.slates.whole(), found.actions) for one in found.replayed]
    return Pass(replayed, found.decided, found.matured)


def conclude_slates(
    found: SlatePass,
    estimators: Sequence[str],
    *,
    alpha: float,
    force: bool,
    interval: str | None,
) -> list[Result]:
    """One result for each target."""
    results = []
    for i, one in enumerate(found.replayed):
        evaluation = evaluate_slates(
            one.slates,
            one.target.estimand,
            estimators,
            alpha=alpha,
            force=force,
            interval=interval or "normal",
        )
        versus = None
        if i:
            first = found.replayed[0].slates
            versus = slate_difference(one.slates, first, estimators[0], alpha, force=force)
        results.append(Result(evaluation, versus))
    return results


def range_of_slates(limits: tuple[float, float], found: SlatePass) -> tuple[float, float]:
    """(lowest, highest) sum of rewards that a slate can have, from that of a slot; there may be shorter slates."""
    slots = found.replayed[0].slates.reward.shape[1]
    low, high = limits
    return min(low, slots * low), max(high, slots * high)
