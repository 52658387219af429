"""What every log comes down to, whatever its format: decisions, and the rewards that became final.

A log is iterated in its own order. A decision comes once when it was made and once more, with its reward, when that was
final; between the two lie the decisions that were made without knowing it. So a replay predicts at the first and learns
at the second, as the service did. The two are told to be one by key and slot; they need not be one object. Formats that
know of no delay give the second directly after the first. Slots of one decision come one after the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from policies import Interaction
from simulator.rounding import tolerance

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from policies import ActionSet, Features

# A sum this close to 1 is 1, and two shares this close are the same, in double precision: 1e4 roundings of 1e-16.
_EXACT = 1e-12
# No propensity is smaller: what has a probability of 1e-100 is not drawn. Squares of weights are finite down to there.
_LEAST = 1e-100
CLOSE = 1e-2
"""How far, as a share, a propensity may be from the pmf's entry and still be the same number: logs round one of them."""


class LogFormatError(ValueError):
    """A log is not what its format says. The message begins with the log's name and, where it has lines, the line."""


class Skipped(StrEnum):
    """Why something in a log gave no event. All else that cannot be read is refused."""

    DANGLING = "dangling_rewards"  # rewards of which no decision is known
    NOT_ACTIVATED = "not_activated"  # deferred decisions that nobody activated
    SKIP_LEARN = "skip_learn"  # dsjson: the line says `_skipLearn`
    NOT_AN_OBJECT = "checkpoint_lines"  # dsjson: lines that are no object, or one about no decision
    UNLABELLED = "unlabelled"  # decisions whose reward the log does not have
    CUT_SHORT = "cut_short"  # a last line that was not written to its end: 1 or none


@dataclass(frozen=True, slots=True)
class Decided:
    """One slot's decision as it was logged. mu is the policy that logged it; K actions could be chosen.

    What the log rounded is made whole: a pmf that nearly sums to 1 is divided by its sum, and a propensity that nearly is the
    pmf's entry becomes that entry. Weights are then those that the pmf says are possible.

    Raises:
        ValueError: the numbers contradict each other or are no probabilities; the message says which.
    """

    key: str  # names the decision within its log; with `slot` no other has it, if the log's own names are unique
    slot: int  # 0 where there are none
    context: Features
    actions: ActionSet  # [K]
    chosen: int  # index into actions
    pmf: (
        NDArray[np.float64] | None
    )  # [K] mu over all actions, sums to 1; None where the log has only the propensity
    propensity: float  # mu at the chosen action, in (0, 1]
    # [B] of a policy that mixes others: see Interaction.bases.
    bases: NDArray[np.float64] | None = None
    # The source's own form: a dsjson object, VW's text, a LogRecord; for policies that parse it themselves.
    raw: object | None = None
    # How many decisions it stands for, where only a share of them was logged.
    weight: float = 1.0
    # Whether the log says that the decision's other slots were drawn from what was left of this slot's pmf.
    one_pmf: bool = False
    # Number of its line, row or record in the log, in the log's own counting; None where there is none. For messages.
    at: int | None = None
    time_us: int | None = (
        None  # when it was made, microseconds since 1970; None where the log does not say
    )
    # Names the decision whose slot this is, where `key` names the slot alone, as in exports; "" where `key` does.
    slate: str = ""
    # What `bases` are of: ModelSpec.mixture of the model that decided; "" where the log does not say.
    mixture: str = ""

    def __post_init__(self) -> None:
        count = len(self.actions)
        if not 0 <= self.chosen < count:
            raise ValueError(f"action number {self.chosen + 1} was chosen, of {count} actions")
        if not 0.0 < self.propensity <= 1.0:
            raise ValueError(
                f"the propensity is {self.propensity}: must be in (0, 1], the probability with which the action was drawn"
            )
        if self.propensity < _LEAST:
            raise ValueError(
                f"the propensity is {self.propensity}: what is so improbable was not drawn; mend the row"
            )
        if not (self.weight > 0.0 and math.isfinite(self.weight)):
            raise ValueError(f"the weight is {self.weight}: must be positive and finite")
        if self.pmf is not None:
            self._settle(self.pmf)

    def _settle(self, pmf: NDArray[np.float64]) -> None:
        """Undoes rounding. What is exact stays as it is, to the bit."""
        total = _check_pmf(pmf, len(self.actions))
        logged = float(pmf[self.chosen])
        if abs(total - 1.0) > _EXACT:
            pmf = pmf / total
            object.__setattr__(self, "pmf", pmf)  # frozen
        own = min(float(pmf[self.chosen]), 1.0)
        off = abs(own - self.propensity)
        # Of very many actions both may be rounded alike, and far from what is exact: 0.0003 of 3,000.
        near = min(off, abs(logged - self.propensity))
        if off > _EXACT * self.propensity and near <= CLOSE * self.propensity:
            object.__setattr__(self, "propensity", own)

    @property
    def decision_key(self) -> str:
        """Names the decision: all of its slots have it."""
        return self.slate or self.key

    def interaction(self, reward: float, mixture: str = "") -> Interaction:
        """What a policy learns from. Where the log has no pmf, it is NaN but at the chosen action.

        Args:
            mixture: of the model that learns (`ModelSpec.mixture`), to which other mixtures' bases mean nothing.
        """
        pmf = self.pmf
        if pmf is None:
            pmf = np.full(len(self.actions), np.nan)
            pmf[self.chosen] = self.propensity
        bases = self.bases if mixture and mixture == self.mixture else None
        return Interaction(self.context, self.actions, self.chosen, pmf, reward, bases)


@dataclass(frozen=True, slots=True)
class Matured:
    """A decision with its final reward.

    Raises:
        ValueError: the reward is not finite.
    """

    decision: Decided
    reward: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.reward):
            raise ValueError(
                f"the reward is {self.reward}: must be finite; leave it out where it is not known"
            )


Event = Decided | Matured


class Log(Protocol):
    """A log that can be read again and again. Whoever iterates holds one piece of it in memory, never all.

    Raises (on iteration):
        LogFormatError: the log is not what its format says.
    """

    @property
    def name(self) -> str:
        """For messages: a file's path, or what the caller said."""

    @property
    def reward_range(self) -> tuple[float, float] | None:
        """(lowest, highest) reward that can be, where the log or the caller says so."""

    @property
    def counters(self) -> Counter[str]:
        """What the last iteration passed over so far, by reason: see Skipped."""

    def __iter__(self) -> Iterator[Event]:
        """From the beginning, in the log's order."""


def probability(value: float, what: str) -> float:
    """The value; one that rounding has lifted above 1 is 1.

    >>> probability(1.0000001, "p")
    1.0

    Raises:
        ValueError: it is not in (0, 1].
    """
    if not 0.0 < value <= 1.0 + tolerance(1):  # NaN compares false
        raise ValueError(
            f"{what} is {value}: must be in (0, 1], the probability with which the action was drawn"
        )
    return min(value, 1.0)


def _check_pmf(pmf: NDArray[np.float64], count: int) -> float:
    """Its sum, once it is one."""
    if pmf.shape != (count,):
        raise ValueError(f"the pmf has {pmf.shape} entries for {count} actions")
    lowest, total = float(pmf.min()), float(pmf.sum())
    if not (lowest >= 0.0 and abs(total - 1.0) <= tolerance(count)):
        raise ValueError(
            f"the pmf's least entry is {lowest}, its sum {total}: must be >= 0 and 1; give the probabilities of all actions"
        )
    return total
