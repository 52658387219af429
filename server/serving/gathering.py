"""What comes one by one, done several at a time.

A decision that follows another finds in the processor's caches what it needs; one between two of the transport's calls finds them full of
something else, and takes half as long again. And what is done once for all of them costs each a part. So a call waits until
turns of the event loop bring no others: some ten microseconds where it is alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Most that are done at a time: 32 decisions of 10 to 50 actions take 2 to 4 milliseconds, in which nothing else is done.
MOST = 32
# So many turns in a row must bring nothing new. A call takes several turns to come through the transport, so with others on their way most
# turns bring none. With 2 instead of 5 half as many came together (benchmarks/README.md, serve-01).
_QUIET = 5


class Gathering(Generic[T]):
    """Gathers what is added in an event loop.

    Args:
        work: does what was added, between 1 and `MOST` at a time. Raises nothing.
    """

    def __init__(self, work: Callable[[list[T]], None]) -> None:
        self._work = work
        self._gathered: list[T] = []
        self._seen = 0  # how many there were at the last turn
        self._quiet = 0  # turns since one was added

    @property
    def waiting(self) -> int:
        """How many are added and not yet done."""
        return len(self._gathered)

    def add(self, item: T) -> None:
        """Has it done soon, in the order of adding."""
        self._gathered.append(item)
        if len(self._gathered) == 1:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        count = len(self._gathered)
        self._quiet = self._quiet + 1 if count == self._seen else 0
        self._seen = count
        if count < MOST and self._quiet < _QUIET:
            asyncio.get_running_loop().call_soon(self._turn)
            return
        self._seen = self._quiet = 0
        items, self._gathered = self._gathered[:MOST], self._gathered[MOST:]
        if self._gathered:
            asyncio.get_running_loop().call_soon(self._turn)
        self._work(items)
