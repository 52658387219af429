"""Whether a call is let in: not while those before it wait for too long.

A worker that is asked for more than it can do answers all of it too late, unless it refuses some. How much it can do nobody
knows beforehand; how long calls wait for their turn can be measured. So a worker sends a call of its own through its own edge, again
and again: the probe waits as any other call does, in queues that no handler can see. Controlling the delay, not
the queue's length, follows Nichols & Jacobson (2012), "Controlling Queue Delay".
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds: a caller comes back no sooner than this, even if the queue is short by then.
_LEAST_RETRY = 0.05


class Admission:
    """What the probes of one worker tell.

    Args:
        limit: seconds that a call may wait for its turn before others are refused; infinite: none ever is.
        clock: seconds, never going back.

    >>> now = iter([10.0, 10.25, 10.75, 11.0, 11.0, 11.125, 11.25])
    >>> admission = Admission(0.5, lambda: next(now))
    >>> admission.sent()
    >>> admission.asked()
    >>> admission.asked() is not None  # the probe has waited for longer than the limit
    True
    >>> admission.answered()
    >>> admission.sent()
    >>> admission.answered()  # the queue is gone
    >>> admission.asked()
    """

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._sent: float | None = None  # when the probe that is on its way was sent
        self._last = 0.0  # what the one before had to wait
        self.calls = 0
        """Calls that asked to be let in. While none does, no probe is needed."""

    def sent(self) -> None:
        """A probe is on its way."""
        self._sent = self._clock()

    def answered(self) -> None:
        """It has had its turn, or was given up."""
        if self._sent is not None:
            self._last = self._clock() - self._sent
            self._sent = None

    @property
    def busy(self) -> bool:
        """Whether calls are refused, as far as the last probe tells."""
        return self._last > self._limit

    def asked(self) -> float | None:
        """Asks for a call to be let in: None if it is, else the seconds after which it may come again.

        That is when what waits now is done; spread, so that not all come at once.
        """
        self.calls += 1
        delay = self._last
        if self._sent is not None:
            delay = max(delay, self._clock() - self._sent)
        if delay <= self._limit:
            return None
        return max(_LEAST_RETRY, delay) * random.uniform(1.0, 2.0)  # noqa: S311  # no secret
