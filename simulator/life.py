"""What a life through a log says: the rows that it kept, and the estimate that they make.

Each row has an influence, whose mean is the value, so lives of one policy under several random draws (`average`) and the
difference from what the log itself earned (`minus_logged`) are taken row by row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from simulator.evaluation import Estimate, refused, with_few
from simulator.intervals import INTERVALS, ConfidenceInterval, Evidence
from simulator.ips import NotIdentifiable
from simulator.overlap import MOST_UNSUPPORTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from simulator.columns import Columns

ONLINE = "online"
LEAST_ROUNDS = 100  # accepted; fewer are no learning curve
MOST_CUT = 0.05  # share of pi's actions that acceptance could not give the learner
Method = Literal["rejection", "dr_ns"]


@dataclass(frozen=True, slots=True, eq=False)
class Online:
    """What a policy would earn live."""

    name: str
    """The policy's, as the caller spelled it."""
    method: Method
    value: float
    """Mean reward of a round, over `rounds` rounds from untrained on: another number of rounds has another value."""
    interval: ConfidenceInterval
    """Of one life: of the mean value along the path that was learned, not of how much paths differ: on 60 logs of a linear
    bandit it covered the learner's mean over many lives in 93% (rejection) and 73% (DR-ns) instead of 95%. Of several lives
    (`average`): of the learner's mean over many lives."""
    rounds: int
    """Rows that were accepted, and whose reward was final; of several lives their mean, rounded."""
    rows: int
    """Rows whose reward was final."""
    curve: NDArray[np.float64]
    """Cumulated reward after each accepted round, [rounds], in the order of decisions; of several lives the mean of theirs, as far as
    the shortest goes."""
    cut: float
    """Share of pi's actions, on average over rows, that acceptance could not give, as c pi exceeded mu; in [0, 1]. Exactly
    0 for rejection. The learner met so much less of what it wanted to do."""
    influence: NDArray[np.float64]
    """What each row says of the value, [rows]; their mean is the value."""
    reward: NDArray[np.float64]
    """What each row's logged action earned, [rows]."""
    lives: int = 1
    between: float = 0.0
    """Variance of the value between lives."""

    estimand: ClassVar[str] = ONLINE

    @property
    def acceptance(self) -> float:
        """Accepted rounds per row, in [0, 1]."""
        return self.rounds / self.rows


@dataclass(frozen=True, slots=True)
class Refused:
    """Why it cannot be known what a policy would earn live."""

    name: str
    """The policy's, as the caller spelled it."""
    method: Method
    reason: str

    estimand: ClassVar[str] = ONLINE


class Row(NamedTuple):
    """What is kept of a row."""

    number: int  # how many events came before
    accepted: bool
    reward: float
    c: float
    value: float  # R_k, in reward units
    cut: float
    unsupported: float  # pi's share on actions with mu = 0


def concluded(name: str, method: Method, rows: Columns, alpha: float) -> Online:
    """The estimate of one life, from a `Row` for each decision, in any order.

    Raises:
        NotIdentifiable: the log says too little.
    """
    number, *columns = rows.arrays()
    order = np.argsort(number)
    accepted, reward, c, value, cut, unsupported = (column[order] for column in columns)
    n = len(order)
    own = reward[accepted == 1.0]
    _check(own, cut, unsupported)
    if method == "rejection":
        interval = INTERVALS["normal"](Evidence(own), alpha)
        interval = replace(interval, method="Student t of the accepted rewards")
        estimate = float(own.mean())
        influence = estimate + accepted * (reward - estimate) / accepted.mean()
    else:
        # c was fixed before its row, so c (R - its mean) is a martingale's difference, and the ratio has the usual influence.
        estimate = float(c @ value / c.sum())
        influence = estimate + c * (value - estimate) / c.mean()
        interval = replace(
            INTERVALS["normal"](Evidence(influence), alpha),
            method="Student t of the ratio's influence",
        )
    return Online(
        name,
        method,
        estimate,
        interval,
        len(own),
        n,
        np.add.accumulate(own),
        float(cut.mean()),
        influence,
        reward,
    )


def _check(
    own: NDArray[np.float64], cut: NDArray[np.float64], unsupported: NDArray[np.float64]
) -> None:
    """Refuses what is no life. [rounds], [n], [n]."""
    n = len(cut)
    if n and unsupported.mean() > MOST_UNSUPPORTED:
        raise NotIdentifiable(
            f"{unsupported.mean():.2%} of what the policy does is never done by the log's policy (more than "
            f"{MOST_UNSUPPORTED:.1%}), so it could not learn from it: log with a uniform share over all actions"
        )
    if len(own) < LEAST_ROUNDS:
        raise NotIdentifiable(
            f"{len(own)} of {n} rows were accepted as the policy's own, below {LEAST_ROUNDS}: "
            "log more rows, or with more exploration"
        )
    if cut.mean() > MOST_CUT:
        raise NotIdentifiable(
            f"{cut.mean():.2%} of what the policy does was done too seldom by the log's policy to be learned as often as live (more "
            f"than {MOST_CUT:.0%}): take a lower quantile, which accepts fewer rows, or log with more exploration"
        )


def average(lives: Sequence[Online], alpha: float) -> Online:
    """Several lives of one policy through one log, which differ in their random draws, as one estimate.

    The interval is for the learner's mean over many lives. Two things move the estimate: what the rows happened to be worth, along the
    paths that were learned (the influence, averaged over lives row by row), and which paths these were (the variance of the value
    between lives). The second is taken whole, not divided by the number of lives: paths through one log share its rows, and another
    log would have moved all of them. So it errs towards wide: with 5 lives on 60 logs of a linear bandit it covered in 60 (rejection) and
    58 (DR-ns). Student's t with the degrees of freedom of Welch (1947) and Satterthwaite
    (1946).

    Raises:
        ValueError: there are no lives, or they are of different logs.
    """
    if not lives or any(each.rows != lives[0].rows for each in lives):
        raise ValueError("lives: must be of one log, and one at least")
    first, count = lives[0], len(lives)
    if count == 1:
        return first
    values = np.array([each.value for each in lives])
    value, between = float(values.mean()), float(values.var(ddof=1))
    influence = np.mean([each.influence for each in lives], axis=0)
    rounds = min(len(each.curve) for each in lives)
    return replace(
        first,
        method="dr_ns" if any(each.method == "dr_ns" for each in lives) else "rejection",
        value=value,
        interval=_student(influence, between, count, alpha),
        rounds=round(float(np.mean([each.rounds for each in lives]))),
        curve=np.mean([each.curve[:rounds] for each in lives], axis=0),
        cut=float(np.mean([each.cut for each in lives])),
        influence=influence,
        lives=count,
        between=between,
    )


def minus_logged(found: Online, alpha: float) -> ConfidenceInterval:
    """By how much the value exceeds the log's mean reward, paired row by row: both are means over the same rows.

    What is compared is a learner in its first `rounds` rounds with a log that may have been learning for longer. The interval is for
    what the value's is for: one path, or the mean over many lives.
    """
    rows = found.influence - found.reward
    if found.lives > 1:
        return _student(rows, found.between, found.lives, alpha)
    return replace(
        INTERVALS["normal"](Evidence(rows), alpha), method="Student t, paired, along the path"
    )


def _student(
    rows: NDArray[np.float64], between: float, count: int, alpha: float
) -> ConfidenceInterval:
    """Of the mean of rows [n], whose variance between `count` lives is added to that over rows."""
    n, value = len(rows), float(rows.mean())
    along = float(rows.var(ddof=1)) / n
    variance = along + between
    parts = along**2 / (n - 1) + between**2 / (count - 1)
    freedom = variance**2 / parts if parts > 0 else float(n - 1)
    reach = float(stdtrit(freedom, 1 - alpha / 2)) * sqrt(variance)
    method = f"Student t of {count} lives, over rows and between lives"
    return ConfidenceInterval(value - reach, value + reach, alpha, method)


def estimate(found: Online | Refused) -> Estimate:
    """Its value as other estimates have theirs."""
    if not isinstance(found, Online):
        return refused(found.reason)
    ends = found.interval
    told = Estimate(found.value, ends.low, ends.high, ends.method, True, "")
    return with_few(told, found.reward)


def versus(found: Online | Refused, alpha: float) -> Estimate:
    """By how much it exceeds the log's mean; see `minus_logged`."""
    if not isinstance(found, Online):
        return refused(found.reason)
    ends = minus_logged(found, alpha)
    value = float((found.influence - found.reward).mean())
    told = Estimate(value, ends.low, ends.high, ends.method, True, "")
    return with_few(told, found.reward)
