"""The log's own clock: it runs while records come, and stands still while rankd does."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# One journal's share of one partition: (UUID of its folder, partition).
Stream = tuple[str, int]


class Times(NamedTuple):
    """Running time, in microseconds since the log began, when a record has been taken in."""

    due: int  # up to here windows close: every stream has been heard until then
    at: int  # windows open here: when the record was heard, however long ago it was written


class LogClock:
    """Adds up the time between consecutive records, but never more than `cap` for one step.

    With a Tick every second in a quiet log, a longer step means that nobody was there to write. So an outage, a
    restart or a clock that jumps closes no window that real running time has not.

    >>> clock = LogClock(cap_us=5_000_000)
    >>> [clock.advance(t).due for t in (100, 1_000_100, 3_600_000_000)]
    [0, 1000000, 6000000]

    Where several journals share a log, one of them may be behind: cut off, it has records that nobody else has seen
    yet. So windows close only as far as *every* stream has been heard. A record that waited for `lag` is from so much
    before it came. But its own window opens when it comes: what the clock has left out while the record waited is unknown
    here, and another journal's reward would find a window closed that was opened too far back.

    >>> clock = LogClock(cap_us=5_000_000)
    >>> _ = [clock.advance(t * 1_000_000, (folder, 0)) for t in range(3) for folder in "ab"]
    >>> clock.advance(4_000_000, ("a", 0))  # b has not been heard since 2 s
    Times(due=2000000, at=4000000)
    >>> clock.advance(5_000_000, ("b", 0), lag_us=2_500_000)  # b is back, and sends what it could not
    Times(due=2500000, at=5000000)
    >>> clock.fence("b")  # it is given up
    >>> clock.advance(6_000_000, ("a", 0))
    Times(due=6000000, at=6000000)
    """

    def __init__(self, cap_us: int, now_us: int = 0, order_us: int | None = None) -> None:
        self.cap_us = cap_us
        self.now_us = now_us  # running time since the log began
        self.order_us = order_us  # the greatest stamp so far
        self.due_us = now_us  # how far every stream has been heard; never falls
        self.heard_us: dict[Stream, int] = {}  # running time up to which each stream has been heard
        self._received_us: dict[
            str, int
        ] = {}  # running time at which anything last came from a folder

    def advance(self, stamp_us: int, stream: Stream | None = None, lag_us: int = 0) -> Times:
        """Takes in the next record: its stamp, which journal sent it, and how long it had waited there."""
        if self.order_us is None:
            self.order_us = stamp_us
        elif stamp_us > self.order_us:
            self.now_us += min(stamp_us - self.order_us, self.cap_us)
            self.order_us = stamp_us
        if stream is None:  # a producer without a journal: nobody waits for it
            if not self.heard_us:
                self.due_us = self.now_us
        else:
            self._received_us[stream[0]] = self.now_us
            before = self.heard_us.get(stream, 0)
            heard = self.now_us - lag_us
            if heard > before:
                self.heard_us[stream] = heard
            else:
                heard = self.heard_us[stream] = before
            if len(self.heard_us) == 1:
                if heard > self.due_us:
                    self.due_us = heard
            elif before <= self.due_us:  # the slowest stream may have moved
                self.due_us = max(self.due_us, min(self.heard_us.values()))
        return Times(self.due_us, self.now_us)

    def silent(self, beyond_us: int) -> list[str]:
        """Folders that are waited for, and from which nothing at all has come for longer than that, in order."""
        until = self.now_us - beyond_us
        return sorted(folder for folder, us in self._received_us.items() if us < until)

    def fence(self, folder: str, partition: int | None = None) -> None:
        """Waits for that folder no longer, or only for what it has in that partition, until it is heard of again."""
        streams = [stream for stream in self.heard_us if stream[0] == folder]
        gone = [stream for stream in streams if partition in (None, stream[1])]
        for stream in gone:
            del self.heard_us[stream]
        if len(gone) == len(streams):
            self._received_us.pop(folder, None)
        if self.heard_us:
            self.due_us = max(self.due_us, min(self.heard_us.values()))

    def restore(self, due_us: int, heard: Iterable[tuple[Stream, int]]) -> None:
        """Takes on what was heard before."""
        self.due_us = max(due_us, 0)
        self.heard_us = dict(heard)
        self._received_us = {folder: self.now_us for folder, _ in self.heard_us}
