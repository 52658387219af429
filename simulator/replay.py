"""One pass over a log: what each target would have done at each decision, and what came of what was done.

The log is streamed; what is kept of a row is a few numbers (`Sample`), also while its reward is not final. A target is asked before the row's reward is known and learns when it was final in the
log, so a delay costs it what it would have cost.

A slot of a slate is a row of its own: a decision among what the slots above left, with its own reward and propensity, as a
policy learns it. What is estimated is then the mean over slots of being asked so, not what a whole slate would earn: for that
see `simulator.slates`. Which rows are slots of one decision is in `Sample.decision`, since intervals hang on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

import numpy as np

from simulator.columns import Columns, Width
from simulator.decisions import Decisions, shared
from simulator.logs.events import Decided
from simulator.sample import Sample
from simulator.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from simulator.logs.events import Log
    from simulator.reward_models import RewardModel
    from simulator.sample import Column
    from simulator.targets import Target

# Columns of what the targets share: how late the row is, how many rows more than decisions there were before it, how many
# actions, reward, propensity. The first two are 0 in each row, and cost nothing, where no reward is delayed and no slate has two slots.
_COMMON = [Width.EXACT] * 5
# Columns of a Sample that each target has for itself, from pi on. What says how far overlap reaches is kept in 4 bytes: at 10 million rows
# that saves 120 MB. The range of the weights is rounded outwards, by 1e-7 of itself, so what holds with it holds.
_OWN = [
    *[Width.EXACT] * 3,  # pi, q_logged, q_pi
    *[Width.NEAREST] * 2,  # unsupported, expected_square
    Width.UP,  # w_max
    Width.DOWN,  # w_min
]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a pass over a log gives for one target."""

    target: Target
    sample: Sample
    """One row for each matured decision, in the order in which they were made."""
    actions: Column
    """How many actions each row's decision chose from, [n]; whole numbers."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over a log."""

    replayed: list[Replayed]
    """One for each target, in the order asked for. Row i of all of them is the same decision."""
    decided: int
    """Decisions in the log."""
    matured: int
    """Those whose reward was final; only these count."""


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
        LogFormatError: the log is not what its format says, or was thinned at several rates (`pdrop`): no
            estimator here weighs rows.
        ValueError: a number cannot be an estimator's; see Sample.
    """
    # Of each row that waits: how many rows came before, how many more than decisions these were, and each target's own columns.
    # Packed, since of 100 bytes each there may be millions.
    waiting = Waiting[bytes](log)
    kept = Struct(f"2q{len(_OWN) * len(targets)}d")
    common, own = Columns(_COMMON), [Columns(_OWN) for _ in targets]
    decisions = Decisions()
    decided = matured = 0
    for event in log:
        if isinstance(event, Decided):
            waiting.check(event)
            q = None if reward_model is None else reward_model.expected(event)
            row = [x for target in targets for x in _row(event, target.pmf(event), q)]
            waiting.put(event, kept.pack(decided, decided - decisions.number(event), *row))
            decided += 1
            continue
        decision = event.decision
        number, surplus, *row = kept.unpack(waiting.take(event))
        late = number - matured
        common.append((late, surplus, len(decision.actions), event.reward, decision.propensity))
        matured += 1
        for i, (columns, target) in enumerate(zip(own, targets, strict=True)):
            columns.append(row[i * len(_OWN) : (i + 1) * len(_OWN)])
            target.learn(event)
        if reward_model is not None:
            reward_model.learn(event)
        if progress is not None:
            progress(matured)
    return Pass(_replayed(targets, common, own), decided, matured)


def _row(
    decision: Decided, pi: NDArray[np.float64], q: NDArray[np.float64] | None
) -> tuple[float, ...]:
    """A Sample's columns from pi on, in its order."""
    k, mu = decision.chosen, decision.pmf
    at, nan = float(pi[k]), float("nan")
    q_logged, q_pi = (nan, nan) if q is None else (float(q[k]), float(pi @ q))
    if mu is None:
        return at, q_logged, q_pi, nan, nan, nan, nan
    unsupported = 0.0
    if not np.minimum.reduce(mu) > 0:
        seen = mu > 0
        unsupported = float(pi[~seen].sum())
        pi, mu = pi[seen], mu[seen]
    weights = pi / mu
    w_max = float("inf") if unsupported > 0 else float(np.maximum.reduce(weights))
    w_min = float(np.minimum.reduce(weights))
    return at, q_logged, q_pi, unsupported, float(pi @ weights), w_max, w_min


def _replayed(targets: Sequence[Target], common: Columns, own: list[Columns]) -> list[Replayed]:
    """Rows in the order in which decisions were made."""
    late, surplus, actions, reward, mu = common.arrays()
    order = _order(late)
    decision = _decision(late, surplus, order)
    actions, reward, mu = (_in(order, column) for column in (actions, reward, mu))
    return [
        Replayed(
            target,
            Sample(reward, mu, *(_in(order, each) for each in columns.arrays()), decision=decision),
            actions,
        )
        for target, columns in zip(targets, own, strict=True)
    ]


def _order(late: Column) -> NDArray[np.intp] | None:
    """What puts rows in the order of their decisions; None if they are, as where no reward is delayed."""
    if (late[1:] >= late[:-1]).all():
        return None
    return np.argsort(np.arange(len(late)) + late, kind="stable")


def _decision(
    late: Column, surplus: Column, order: NDArray[np.intp] | None
) -> NDArray[np.intp] | None:
    """The number of each row's decision, in the order of decisions; None if no two rows share one."""
    if surplus.strides == (0,):  # one value, so all rows are of decisions of their own
        return None
    numbers = np.arange(len(late), dtype=np.float64)
    numbers += late
    numbers -= surplus
    return shared(_in(order, numbers).astype(np.intp))


def _in(order: NDArray[np.intp] | None, column: Column) -> Column:
    if order is None or column.strides == (0,):  # one value, however long
        return column
    return column[order]
