"""A log that hands on the events of another one."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from simulator.waiting import Windowed

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from simulator.logs.events import Event, Log


class HandedOn:
    """Says of itself what the other says, and hands on all of its events; see `events.Log` and `simulator.waiting.Windowed`.

    Args:
        log: the other one.
    """

    def __init__(self, log: Log) -> None:
        self.log = log

    @property
    def name(self) -> str:
        return self.log.name

    @property
    def reward_range(self) -> tuple[float, float] | None:
        return self.log.reward_range

    @property
    def counters(self) -> Counter[str]:
        return self.log.counters

    @property
    def deadline(self) -> float:
        return self.log.deadline if isinstance(self.log, Windowed) else inf

    @property
    def closed_to(self) -> float:
        return self.log.closed_to if isinstance(self.log, Windowed) else -inf

    def __iter__(self) -> Iterator[Event]:
        return iter(self.log)
