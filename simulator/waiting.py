"""What a pass over a log keeps, whatever it asks: something of each decision that waits for its reward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from simulator.logs.events import LogFormatError

if TYPE_CHECKING:
    from simulator.logs.events import Decided, Matured

T = TypeVar("T")


class Waiting(Generic[T]):
    """Something for each decision whose reward is not final yet.

    Memory is for those that wait, not for those that have had their reward: in a replay of one policy 600 bytes each. So it is guaranteed
    that no two decisions of one name wait at a time and that no reward is taken twice, but not that a name never comes back
    after its reward: a log of any length would have to be remembered for that (`rankd validate` counts duplicates).

    Args:
        log: its name, for messages.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._waiting: dict[tuple[str, int], T] = {}
        self._weight = 0.0  # of the decisions; 0 before the first

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
        if self._waiting.setdefault((decision.key, decision.slot), kept) is not kept:
            raise LogFormatError(
                f"{self._log}: decision {decision.key} was made twice, and has no reward between the two: "
                "give a log in which each decision has a name of its own"
            )

    def take(self, matured: Matured) -> T:
        """What was kept for the decision whose reward this is.

        Raises:
            LogFormatError: the decision was never made, or has had its reward.
        """
        key = matured.decision.key
        try:
            return self._waiting.pop((key, matured.decision.slot))
        except KeyError:
            raise LogFormatError(
                f"{self._log}: decision {key} has a reward and was never made, or has two"
            ) from None
