"""A process that makes load: `python -m rankd.load.process`. Reads its plan from standard input, a line of JSON, and prints lines of
JSON: "ready" once it is connected, then what it has counted, and "done". Ends early when standard input does.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import signal
import sys
from typing import Any

from rankd.load.drive import Driver
from rankd.load.plan import Plan

# Seconds between two reports.
_REPORT = 0.25


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201  # it is the protocol


async def _main() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    plan = Plan(**json.loads(sys.stdin.readline()))
    driver = Driver(plan, stop)
    try:
        await driver.connect()
    except TimeoutError:
        _say(failed=f"no connection to {plan.target} within {plan.timeout:g} s")
        return
    _say(ready=True)
    # The start is told once all processes are connected.
    start = json.loads(sys.stdin.readline() or "null")
    if start is None:
        return
    loop.add_reader(sys.stdin.fileno(), stop.set)  # which ends with whoever started this
    running = asyncio.create_task(driver.run(start))
    while not running.done():
        await asyncio.wait([running], timeout=_REPORT)
        if stop.is_set():
            loop.remove_reader(sys.stdin.fileno())
        _say(tally=driver.take().to_json())
    await running
    _say(done=True)


def main() -> None:
    """Runs one plan."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: whoever started this decides
    # select() wakes within 0.1 ms of the time asked for, where epoll rounds up to the next millisecond.
    with asyncio.Runner(
        loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
    ) as runner:
        runner.run(_main())


if __name__ == "__main__":
    main()
