"""Whether a call is let in: not while those before it wait for too long.

A worker that is asked for more than it can do answers all of it too late, unless it refuses some. How many it can do nobody
knows beforehand; how long calls wait for their turn can be measured. So an edge sends a call of its own through its own port, again
and again: the probe waits as any other call does, in queues that no handler can see. Controlling the delay, not
the queue's length, follows Nichols & Jacobson (2012), "Controlling Queue Delay".
"""

from __future__ import annotations

import random

# Seconds: a caller comes back no sooner than this, even if the queue is short by then.
_LEAST_RETRY = 0.05


class Admission:
    """What the probes of one worker tell. Times are seconds of one clock that never goes back.

    Args:
        limit: seconds that a call may wait for its turn before others are refused; infinite: none ever is.

    >>> admission = Admission(0.5)
    >>> admission.sent(10.0)
    >>> admission.delay(10.25), admission.refuses(10.25)
    (0.25, False)
    >>> admission.refuses(10.75)  # the probe has waited for longer than the limit
    True
    >>> admission.answered(11.0)
    >>> admission.sent(11.0)
    >>> admission.answered(11.125)  # the queue is gone
    >>> admission.refuses(11.25)
    False
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._sent: float | None = None  # when the probe that is on its way was sent
        self._last = 0.0  # what the one before had to wait
        self.calls = 0
        """Calls that asked to be let in. While none does, no probe is needed."""

    def sent(self, now: float) -> None:
        """A probe is on its way."""
        self._sent = now

    def answered(self, now: float) -> None:
        """It has had its turn, or was given up."""
        if self._sent is not None:
            self._last = now - self._sent
            self._sent = None

    def delay(self, now: float) -> float:
        """Seconds that a call which comes now has to wait for its turn, as far as is known."""
        waiting = 0.0 if self._sent is None else now - self._sent
        return max(self._last, waiting)

    def refuses(self, now: float) -> bool:
        """Whether a call is to be refused."""
        self.calls += 1
        return self.delay(now) > self._limit

    def retry_after(self, now: float) -> float:
        """Seconds after which a refused caller may come again: when what waits now is done; spread, so that not all come at once."""
        return max(_LEAST_RETRY, self.delay(now)) * random.uniform(1.0, 2.0)  # noqa: S311  # no secret
