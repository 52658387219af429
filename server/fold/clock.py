"""The log's own clock: it runs while records come, and stands still while rankd does."""

from __future__ import annotations


class LogClock:
    """Adds up the time between consecutive records, but never more than `cap` for one step.

    With a Tick every second in a quiet log, a longer step means that nobody was there to write. So an outage, a
    restart or a clock that jumps closes no window that real running time has not.

    >>> clock = LogClock(cap_us=5_000_000)
    >>> [clock.advance(t) for t in (100, 1_000_100, 3_600_000_000)]
    [0, 1000000, 6000000]
    """

    def __init__(self, cap_us: int, now_us: int = 0, order_us: int | None = None) -> None:
        self.cap_us = cap_us
        self.now_us = now_us  # running time since the log began
        self.order_us = order_us  # the greatest stamp so far

    def advance(self, stamp_us: int) -> int:
        """Takes in the next record's log time; returns the running time in microseconds."""
        if self.order_us is None:
            self.order_us = stamp_us
        elif stamp_us > self.order_us:
            self.now_us += min(stamp_us - self.order_us, self.cap_us)
            self.order_us = stamp_us
        return self.now_us
