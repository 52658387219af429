"""One pass over a log: what each target would have done at each decision, and what came of what was done.

The log is streamed; what is kept of a row is a few numbers (`Sample`), and of a decision whose reward is not final
yet, the targets' pmfs. A target is asked before the row's reward is known and learns when it was final in the
log, so a delay costs it what it would have cost.

A slot of a slate is a row of its own: a decision among what the slots above left, with its own reward and propensity, as a
policy learns it. What is estimated is then the mean over slots of being asked so, not what a whole slate would earn: for that
see `simulator.slates`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simulator.logs.events import Decided
from simulator.sample import Sample
from simulator.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from simulator.logs.events import Log
    from simulator.reward_models import RewardModel
    from simulator.targets import Target

_COLUMNS = 9  # of a Sample


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a pass over a log gives for one target."""

    target: Target
    sample: Sample
    """One row for each matured decision, in the order in which they were made."""
    actions: NDArray[np.int64]
    """How many actions each row's decision chose from, [n]."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over a log."""

    replayed: list[Replayed]
    """One for each target, in the order asked for. Row i of all of them is the same decision."""
    decided: int
    """Decisions in the log."""
    matured: int
    """Those whose reward was final; only these count."""


class _Asked(NamedTuple):
    """A decision that waits for its reward."""

    actions: int  # how many
    number: int  # how many decisions came before
    rows: list[list[float]]  # for each target, a Sample's columns but the reward


@dataclass(slots=True)
class _Rows:
    numbers: list[int] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    columns: list[list[float]] = field(default_factory=list)


def replay(
    log: Log,
    targets: Sequence[Target],
    reward_model: RewardModel | None = None,
    progress: Callable[[int], None] | None = None,
) -> Pass:
    """Asks every target at every decision, and lets it learn every reward when that was final.

    Args:
        log: read once, from its beginning.
        targets: those that learn are changed by it.
        reward_model: gives q, and is told every reward when that was final. Without one, q is NaN.
        progress: called after each matured row with their number.

    Raises:
        LogFormatError: the log is not what its format says, or stands for decisions that were left out (`pdrop`), which
            no estimator here weighs.
        ValueError: a number cannot be an estimator's; see Sample.
    """
    waiting = Waiting[_Asked](log.name)
    found = [_Rows() for _ in targets]
    decided = matured = 0
    for event in log:
        if isinstance(event, Decided):
            waiting.check(event)
            q = None if reward_model is None else reward_model.expected(event)
            rows = [_row(event, target.pmf(event), q) for target in targets]
            waiting.put(event, _Asked(len(event.actions), decided, rows))
            decided += 1
            continue
        asked = waiting.take(event)
        matured += 1
        for rows_of, target, row in zip(found, targets, asked.rows, strict=True):
            rows_of.numbers.append(asked.number)
            rows_of.actions.append(asked.actions)
            rows_of.columns.append([event.reward, *row])
            target.learn(event)
        if reward_model is not None:
            reward_model.learn(event)
        if progress is not None:
            progress(matured)
    replayed = [_replayed(target, rows) for target, rows in zip(targets, found, strict=True)]
    return Pass(replayed, decided, matured)


def _row(decision: Decided, pi: NDArray[np.float64], q: NDArray[np.float64] | None) -> list[float]:
    """A Sample's columns but the reward, in its order."""
    k, mu = decision.chosen, decision.pmf
    at, nan = float(pi[k]), float("nan")
    q_logged, q_pi = (nan, nan) if q is None else (float(q[k]), float(pi @ q))
    if mu is None:
        return [decision.propensity, at, q_logged, q_pi, nan, nan, nan, nan]
    seen = mu > 0
    weights = pi[seen] / mu[seen]
    unsupported = float(pi[~seen].sum())
    w_max = float("inf") if unsupported > 0 else float(weights.max())
    square = float(pi[seen] @ weights)
    return [
        decision.propensity,
        at,
        q_logged,
        q_pi,
        unsupported,
        square,
        w_max,
        float(weights.min()),
    ]


def _replayed(target: Target, rows: _Rows) -> Replayed:
    order = np.argsort(np.array(rows.numbers, np.intp), kind="stable")
    columns = np.array(rows.columns, np.float64).reshape(-1, _COLUMNS)[order]
    sample = Sample(*(np.ascontiguousarray(column) for column in columns.T))
    return Replayed(target, sample, np.array(rows.actions, np.int64)[order])
