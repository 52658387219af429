"""The events whose windows are open, and the order in which the windows close. Made for a million of them."""

from __future__ import annotations

from array import array
from collections import deque
from heapq import merge
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING

from server.fold.event import Event, Nodes, at_rest, passed, saved, window

if TYPE_CHECKING:
    from collections.abc import Iterator

# Taken arrivals that a run may keep before it lets go of them: 512 KiB.
_TAKEN = 1 << 16


class _Run:
    """Windows in the order of their deadlines, which is the order in which they were opened: no heap is needed."""

    def __init__(self) -> None:
        self.last_us = 0  # the latest deadline
        self.keys: deque[bytes] = deque()
        self._arrivals = array("Q")  # one for each key, behind those that were taken
        self._taken = 0

    def add(self, key: bytes, arrival: int, deadline_us: int) -> None:
        self.keys.append(key)
        self._arrivals.append(arrival)
        self.last_us = deadline_us

    def first(self) -> tuple[bytes, int]:
        """Key and arrival of the earliest."""
        return self.keys[0], self._arrivals[self._taken]

    def pop(self) -> None:
        self.keys.popleft()
        self._taken += 1
        if self._taken > _TAKEN and self._taken * 2 > len(self._arrivals):
            del self._arrivals[: self._taken]
            self._taken = 0

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        return zip(self.keys, self._arrivals[self._taken :], strict=True)


class Windows:
    """Events by key, each in a window that closes at its deadline; ties close in the order of opening.

    Time only goes forward, so windows of one length close in the order in which they were opened. They stand in as many
    runs as there are lengths, or points in time to count from: two or three.
    """

    def __init__(self) -> None:
        self.events: dict[bytes, bytes] = {}  # key -> Event.to_bytes()
        self.nodes = Nodes()
        self.arrivals = 0  # windows opened so far
        self._runs: list[_Run] = []
        self.due_us: float = inf  # no window closes before

    def get(self, key: bytes) -> Event | None:
        """A copy of the event, to be `put` back after changes."""
        data = self.events.get(key)
        return None if data is None else Event.from_bytes(data, self.nodes)

    def put(self, key: bytes, event: Event) -> None:
        self.events[key] = event.to_bytes(self.nodes)

    def open(self, key: bytes, event: Event, deadline_us: int) -> None:
        """Gives the event a new window, whatever window it was in. Has to be `put`, too."""
        self.arrivals += 1
        event.deadline_us, event.arrival = deadline_us, self.arrivals
        self._enqueue(key, event.arrival, deadline_us)

    def drop(self, key: bytes) -> None:
        """Forgets the event."""
        del self.events[key]

    def restore(self, key: bytes, data: bytes) -> None:
        """Takes in an event that another one's `in_order` gave, in that order."""
        self.events[key] = at_rest(data, self.nodes)
        deadline, arrival = window(data)
        self._enqueue(key, arrival, deadline)

    def take_due(self, now_us: int) -> tuple[bytes, Event] | None:
        """The event whose window closes first, if it closes by now. It stays, but in no window; one that is over goes."""
        while (key := self._take_first(now_us)) is not None:
            data = self.events[key]
            if not passed(data):
                return key, Event.from_bytes(data, self.nodes)
            del self.events[key]
        return None

    def _take_first(self, now_us: int) -> bytes | None:
        if now_us < self.due_us:
            return None
        best: tuple[int, int] | None = None
        run = None
        for candidate in self._runs:
            head = self._head(candidate)
            if head is not None and (best is None or head < best):
                best, run = head, candidate
        self.due_us = inf if best is None else best[0]
        if run is None or now_us < self.due_us:
            return None
        key, _ = run.first()
        run.pop()
        return key

    def in_order(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys of all events, and their bytes as they are saved, in the order in which their windows were opened."""
        runs = [run for run in self._runs if run.keys]
        for key, arrival in runs[0] if len(runs) == 1 else merge(*runs, key=itemgetter(1)):
            data = self.events.get(key)
            if data is not None and window(data)[1] == arrival:
                yield key, saved(data, self.nodes)

    def _enqueue(self, key: bytes, arrival: int, deadline_us: int) -> None:
        for run in self._runs:
            if run.last_us <= deadline_us:
                break
        else:
            self._runs = [run for run in self._runs if run.keys]
            run = _Run()
            self._runs.append(run)
        run.add(key, arrival, deadline_us)
        if deadline_us < self.due_us:
            self.due_us = deadline_us

    def _head(self, run: _Run) -> tuple[int, int] | None:
        """Deadline and arrival of the run's first window; those that were opened anew elsewhere are dropped."""
        while run.keys:
            key, arrival = run.first()
            data = self.events.get(key)
            if data is not None:
                found = window(data)
                if found[1] == arrival:
                    return found
            run.pop()
        return None
