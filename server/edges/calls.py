"""Calls under way on an ASGI edge: deadlines, callers that go, and the drain at the end.

ASGI tells of a caller that has gone only to who asks. Most calls are over before there is anything to ask, so only those that
take long are watched, by a look every now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum
from typing import TYPE_CHECKING, Any

from server.edges.methods import Code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Seconds for a unary request's body to come, once its first bytes have: a caller must not hold a place for nothing.
BODY_SECONDS = 30.0
# Seconds between two looks for calls that take long, and between two questions whether a caller is still there: how late a
# worker notices that it works for nobody.
_LOOK_SECONDS = 0.25
# Seconds between two looks whether the last call has ended.
_DRAIN_SECONDS = 0.01


class Stop(Enum):
    """Why a call was cancelled."""

    DEADLINE = 1
    GONE = 2
    STOPPING = 3


REASONS = {
    Stop.DEADLINE: (Code.DEADLINE_EXCEEDED, "the deadline has passed"),
    Stop.STOPPING: (Code.UNAVAILABLE, "the server stops; retry"),
}
"""What a caller is told who is still there."""


class Call:
    """One call, in its own task.

    Attributes:
        due: when it is over if nothing of the request has come by then, on the event loop's clock; None once something has.
        read: the request has come to its end, so `receive` tells nothing but that the caller has gone.
        started: the reply has begun.
        stop: why it was cancelled, if it was.
    """

    __slots__ = ("_task", "_timer", "_watch", "began", "due", "read", "receive", "started", "stop")

    def __init__(
        self,
        task: asyncio.Task[Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        began: float,
    ) -> None:
        self._task = task
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self.began = began
        self.due: float | None = None
        self.receive = receive
        self.read = False
        self.started = False
        self.stop: Stop | None = None

    async def next(self) -> dict[str, Any]:
        """What `receive` tells next. May be cancelled, which pyvoy's own future does not bear: it is given its value all the same."""
        return await asyncio.shield(self.receive())

    def within(self, seconds: float) -> None:
        """Cancels the call after so many seconds."""
        self._timer = self._task.get_loop().call_later(seconds, self.halt, Stop.DEADLINE)

    def halt(self, why: Stop) -> None:
        """Cancels the call."""
        if self.stop is None:
            self.stop = why
            self._task.cancel()

    def answering(self) -> None:
        """From here on nothing cancels the call: its reply is being handed over."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def uncancel(self) -> None:
        """The cancelling has been heard: what the task does now is the answer."""
        self._task.uncancel()

    def watch(self) -> None:
        """From now on, looks whether the caller is still there."""
        if self._watch is None and self.read:
            self._watch = self._task.get_loop().create_task(self._watched())

    async def _watched(self) -> None:
        while "body" in await self.next():  # noqa: ASYNC110  # ASGI tells who asks
            await asyncio.sleep(_LOOK_SECONDS)
        self.halt(Stop.GONE)


class Calls:
    """All calls under way in one worker."""

    def __init__(self) -> None:
        self.stopping = False
        self._calls: set[Call] = set()

    def begin(self, receive: Callable[[], Awaitable[dict[str, Any]]]) -> Call:
        """A call in the running task."""
        task = asyncio.current_task()
        assert task is not None
        call = Call(task, receive, task.get_loop().time())
        self._calls.add(call)
        return call

    def end(self, call: Call) -> None:
        """The call is over."""
        self._calls.discard(call)
        call.answering()

    async def run(self) -> None:
        """Watches calls that take long, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = loop.time()
            for call in self._calls:
                if call.due is not None and call.due < now:
                    call.halt(Stop.DEADLINE)
                if call.began < now - _LOOK_SECONDS:
                    call.watch()

    async def drain(self, seconds: float) -> None:
        """Refuses new calls, lets running ones end, and after so many seconds cancels those that are left."""
        self.stopping = True
        await ended(lambda: self._calls, seconds)
        for call in list(self._calls):
            call.halt(Stop.STOPPING)
        await ended(lambda: self._calls, 1.0)  # what is cancelled ends at once


async def ended(running: Callable[[], object], seconds: float) -> None:
    """Waits until nothing is `running` any more, for so many seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while running():  # noqa: ASYNC110  # an event would cost every call
                await asyncio.sleep(_DRAIN_SECONDS)
