"""Stops clients of Kafka within a bound, whatever they do meanwhile.

aiokafka's `stop` and `close` wait for tasks of their own that they have cancelled. A task that swallows that makes them wait for ever; from
one that does not swallow it, after a request that failed, say, the CancelledError comes out of `stop` itself (0.14), and would end the task
that has called it without a word: nobody else may tell that cancellation from one that was meant.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiokafka import AIOKafkaConsumer

# Those that did not end in time; a task that nobody refers to may vanish before its end.
_LEFT: set[asyncio.Task[Any]] = set()


async def end(stopping: Coroutine[Any, Any, object], seconds: float) -> None:
    """Runs it for so long at most. What it raises is of no use to anybody any more, its own cancellation included."""
    task = asyncio.ensure_future(stopping)
    _LEFT.add(task)
    task.add_done_callback(_forget)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        task.cancel()


async def end_consumer(consumer: AIOKafkaConsumer, seconds: float) -> None:
    """Stops a consumer, and then its connections: where `stop` has failed they would be kept up for ever, and nobody would read them.

    Args:
        seconds: for each of the two.
    """
    await end(consumer.stop(), seconds)
    # Private, for want of another way: `stop` does nothing when it is called again.
    await end(consumer._client.close(), seconds)


def _forget(task: asyncio.Task[Any]) -> None:
    _LEFT.discard(task)
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not complain
