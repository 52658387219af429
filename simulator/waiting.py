"""What a pass over a log keeps, whatever it asks: something of each decision that waits for its reward."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from simulator.logs.events import LogFormatError

if TYPE_CHECKING:
    from simulator.logs.events import Decided, Log, Matured

T = TypeVar("T")

# Decisions that are let go of together, once the last of them has its reward or will have none: enough that asking the log costs nothing
# beside them, and 300 kB at most.
_TOGETHER = 1_024


@runtime_checkable
class Windowed(Protocol):
    """A log that knows when the time for a reward is over, in units and from a beginning of its own. Both numbers only rise in a pass."""

    @property
    def deadline(self) -> float:
        """Every decision made so far is final, with a reward or without, once `closed_to` is greater than this."""

    @property
    def closed_to(self) -> float:
        """How far the log's time has come, all events until then having been given."""


class Waiting(Generic[T]):
    """Something for each decision whose reward is not final yet.

    Memory is for those that wait, not for those that have had their reward: 300 bytes each beside what is kept of it. Where the log says
    that a decision will have no reward any more (`Windowed`), it waits no longer. So it is guaranteed
    that no two decisions of one name wait at a time and that no reward is taken twice, but not that a name never comes back
    after its reward: a log of any length would have to be remembered for that (`rankd validate` counts duplicates).

    Args:
        log: the one that is read.
    """

    def __init__(self, log: Log) -> None:
        self._log = log.name
        self._windows = log if isinstance(log, Windowed) else None
        self._waiting: dict[tuple[str, int], T] = {}
        self._older: dict[tuple[str, int], T] = {}  # made before all of those
        self._deadline = -inf  # of the older ones
        self._weight = 0.0  # of the decisions; 0 before the first

    def __len__(self) -> int:
        """How many wait, some of which may have no reward to wait for."""
        return len(self._waiting) + len(self._older)

    def check(self, decision: Decided) -> None:
        """Refuses a decision that stands for others, if it stands for more or fewer than the first one.

        Rows of which all were dropped at one rate are a fair sample of the log, and no mean changes. At several rates a mean would
        be a ratio of weighted sums, which estimators and intervals here are not.

        Raises:
            LogFormatError: the log was thinned (`pdrop`) at several rates.
        """
        self._weight = self._weight or decision.weight
        if decision.weight != self._weight:
            raise LogFormatError(
                f"{self._log}: decision {decision.key} stands for {decision.weight:g} decisions (pdrop), one before for "
                f"{self._weight:g}: no estimator here weighs rows. Split the log by pdrop, or thin it to one rate: "
                "keep a row with probability (1 - greatest pdrop) / (1 - its own)"
            )

    def put(self, decision: Decided, kept: T) -> None:
        """Keeps it until the decision's reward is final.

        Raises:
            LogFormatError: another decision of that name waits.
        """
        key = decision.key, decision.slot
        if len(self._waiting) >= _TOGETHER and not decision.slot:
            self._let_go()
        if key in self._older or self._waiting.setdefault(key, kept) is not kept:
            raise LogFormatError(
                f"{self._log}: decision {decision.key} was made twice, and has no reward between the two: "
                "give a log in which each decision has a name of its own"
            )

    def take(self, matured: Matured) -> T:
        """What was kept for the decision whose reward this is.

        Raises:
            LogFormatError: the decision was never made, or has had its reward.
        """
        key = matured.decision.key, matured.decision.slot
        for waiting in (self._waiting, self._older):
            if key in waiting:
                return waiting.pop(key)
        raise LogFormatError(
            f"{self._log}: decision {key[0]} has a reward and was never made, or has two"
        )

    def _let_go(self) -> None:
        """Of the older ones, if their time is over; those of now are the older ones then."""
        if self._windows is not None and self._windows.closed_to > self._deadline:
            self._older, self._waiting = self._waiting, {}
            self._deadline = self._windows.deadline
