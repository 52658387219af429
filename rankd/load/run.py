"""All processes of a load: started, started together, their counts merged while they run."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rankd.load.plan import shares
from rankd.load.tally import Tally

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence

    from rankd.load.plan import Plan

# Seconds between the last process being connected and the first call.
_LEAD = 0.2
# Seconds between two looks of whoever watches.
_SHOW = 0.25
# Seconds that a process may take to load its libraries, and to report at the end, on a busy machine.
_PATIENCE = 60.0
# Bytes of one report: some thousand buckets and error messages.
_LINE = 4 << 20


class LoadError(Exception):
    """The load could not be made; the message says why."""


@dataclass
class Progress:
    """What has come so far."""

    tally: Tally = field(default_factory=Tally)
    started: float = 0.0  # time.monotonic() of the first call; 0 before
    ended: float = 0.0  # of the last report

    @property
    def seconds(self) -> float:
        """How long calls have been made, or were."""
        return (self.ended or time.monotonic()) - self.started if self.started else 0.0


def split(plan: Plan, processes: int) -> list[Plan]:
    """The plans of so many processes, which do together what one plan says; with no more of them than connections or calls in flight."""
    count = min(processes, plan.connections, plan.closed or processes)
    connections, closed = shares(plan.connections, count), shares(plan.closed, count)
    return [
        replace(plan, process=i, processes=count, connections=connections[i], closed=closed[i])
        for i in range(count)
    ]


async def run(plans: Sequence[Plan], show: Callable[[Progress], None]) -> Progress:
    """Makes the load; Ctrl-C and SIGTERM end it early, and what was counted until then is returned.

    Args:
        show: is called every now and then.

    Raises:
        LoadError: a process could not connect, or broke.
    """
    progress = Progress()
    with _signalled() as stop:
        async with _connected(plans) as children:
            progress.started = time.monotonic() + _LEAD
            for child in children:
                _tell(child, progress.started)
            counting = asyncio.gather(*(_count(child, progress) for child in children))
            until = progress.started + plans[0].seconds + plans[0].timeout + _PATIENCE
            while not counting.done() and time.monotonic() < until:
                await asyncio.wait([counting], timeout=_SHOW)
                show(progress)
                if stop.is_set():
                    for child in children:
                        _hang_up(child)
            if not counting.done():
                counting.cancel()
                raise LoadError("a process that makes load did not end in time")
            await counting
            progress.ended = min(time.monotonic(), progress.started + plans[0].seconds)
    return progress


@contextmanager
def _signalled() -> Iterator[asyncio.Event]:
    """Is set by Ctrl-C and SIGTERM."""
    stop, loop, numbers = (
        asyncio.Event(),
        asyncio.get_running_loop(),
        (signal.SIGINT, signal.SIGTERM),
    )
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _connected(plans: Sequence[Plan]) -> AsyncIterator[list[Process]]:
    """A process for each plan, connected to the service; none is left at the end."""
    children: list[Process] = []
    try:
        for _ in plans:
            children.append(await _spawn())  # noqa: PERF401  # those before a failure are ended, too
        await _all_or_error(
            _begin(child, plan) for child, plan in zip(children, plans, strict=True)
        )
        yield children
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def _all_or_error(waits: Iterable[Coroutine[Any, Any, None]]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for wait in waits:
                group.create_task(wait)
    except* LoadError as errors:
        raise errors.exceptions[0] from None


async def _spawn() -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "rankd.load.process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE,
    )


async def _begin(child: Process, plan: Plan) -> None:
    """Hands the plan over, and waits until the process is connected."""
    _tell(child, plan.to_json())
    said = await _hear(child, _PATIENCE)
    if "failed" in said:
        raise LoadError(said["failed"])


async def _count(child: Process, progress: Progress) -> None:
    """Takes in reports until the last."""
    while "done" not in (said := await _hear(child, _PATIENCE)):
        progress.tally.add(Tally.from_json(said["tally"]))


def _tell(child: Process, what: Any) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(what).encode() + b"\n")


def _hang_up(child: Process) -> None:
    assert child.stdin is not None
    child.stdin.close()


async def _hear(child: Process, seconds: float) -> dict[str, Any]:
    """The next line."""
    assert child.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            line = await child.stdout.readline()
    except TimeoutError:
        raise LoadError("a process that makes load fell silent") from None
    if not line:
        raise LoadError("a process that makes load broke; what it said is above")
    said: dict[str, Any] = json.loads(line)
    return said
