"""The range of the rewards in a log, where nothing says what could have been."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from simulator.logs.events import Matured

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.logs.events import Log


class RangeError(ValueError):
    """Rewards of the log are outside the range that was said. The message says which."""


def rewards_met(log: Log) -> tuple[float, float]:
    """(lowest, highest) reward that was met, in one pass and constant memory.

    Where all rewards are one and the same, or there are none, the range is widened to hold 0 and to be 1 wide at least: one
    of no width would say that rewards cannot vary.

    >>> from simulator.logs import ArraysLog
    >>> rewards_met(ArraysLog({"context": [[0.0]] * 2, "action": [0, 1], "reward": [2.0, -1.0], "pscore": [0.5, 0.5]}))
    (-1.0, 2.0)
    >>> rewards_met(ArraysLog({"context": [[0.0]], "action": [0], "reward": [0.0], "pscore": [0.5]}))
    (0.0, 1.0)

    Raises:
        LogFormatError: the log is not what its format says.
    """
    low, high = inf, -inf
    for event in log:
        if isinstance(event, Matured):
            low, high = min(low, event.reward), max(high, event.reward)
    return (0.0, 1.0) if low > high else widened(low, high)


def widened(low: float, high: float) -> tuple[float, float]:
    """The range; one of no width as `rewards_met` has it.

    >>> widened(2.0, 2.0)
    (0.0, 3.0)
    """
    return (low, high) if low < high else (min(low, 0.0), max(high, low + 1.0))


def check_range(reward: ArrayLike, limits: tuple[float, float]) -> None:
    """Refuses a range that rewards [n] contradict; none contradict any.

    >>> check_range([0.0, 1.0], (0.0, 0.5))
    Traceback (most recent call last):
    simulator.met.RangeError: rewards from 0 to 1 are in the log, outside 0 to 0.5: say a range that holds them

    Raises:
        RangeError: it does not hold them.
    """
    rewards = np.asarray(reward)
    if not rewards.size:
        return
    low, high = float(rewards.min()), float(rewards.max())
    if not limits[0] <= low <= high <= limits[1]:
        raise RangeError(
            f"rewards from {low:g} to {high:g} are in the log, outside {limits[0]:g} to {limits[1]:g}: say a range that holds them"
        )
