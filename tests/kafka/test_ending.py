"""Stopping a client of Kafka ends in time, and ends nothing but the client."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

import pytest

from server.kafka import consumer as consumer_module
from server.kafka.consumer import TopicReader
from server.kafka.ending import end
from server.kafka.follower import Following

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from server.fold.merge import Message


async def of_its_own() -> None:
    """Waits for a task that it has cancelled, as aiokafka's consumer does for its fetches (0.14)."""
    task = asyncio.ensure_future(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await task


async def deaf() -> None:
    """Swallows the one cancellation that a timeout sends, and waits on."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.sleep(60)


async def broken() -> None:
    raise OSError("gone")


@pytest.mark.parametrize("stopping", [of_its_own, deaf, broken])
def test_whatever_it_does_it_ends_and_its_caller_goes_on(stopping: object) -> None:
    async def caller() -> str:
        await end(stopping(), 0.05)  # type: ignore[operator]
        return "goes on"

    async def bounded() -> str:
        async with asyncio.timeout(10):
            return await caller()

    assert asyncio.run(bounded()) == "goes on"


def test_a_reader_closes_its_connections_whatever_its_consumer_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumer_module, "_CLOSE_SECONDS", 0.05)
    closed = []

    class Client:
        async def close(self) -> None:
            closed.append(self)

    class Consumer:
        def __init__(self, stop: object) -> None:
            self.stop = stop
            self._client = Client()

    async def closing() -> None:
        for stop in (of_its_own, deaf, broken):
            reader = TopicReader("nowhere:1", "topic", 1.0)
            reader._consumer = Consumer(stop)
            await reader.close()

    asyncio.run(closing())
    assert len(closed) == 3


class Cancelling:
    """A reader whose consumer lets a cancellation of its own out; or, if it is not the first, one that is well."""

    def __init__(self, first: bool) -> None:
        self.first = first

    async def open(self, offsets: Sequence[int]) -> None:
        pass

    async def ends(self) -> list[int]:
        return [0]

    async def positions(self) -> list[int]:
        return [0]

    async def fetch(self, wanted: Sequence[int], seconds: float, most: int) -> list[Message]:
        if self.first:
            await of_its_own()
        await asyncio.sleep(0.01)
        return []

    async def close(self) -> None:
        pass

    @property
    def there(self) -> int:
        return 1


def test_a_follower_ends_when_it_is_told_to_and_not_before(tmp_path: Path) -> None:
    async def follow() -> None:
        second = asyncio.Event()
        made: list[Cancelling] = []

        def reader() -> TopicReader:
            made.append(Cancelling(first=not made))
            if len(made) == 2:
                second.set()
            return cast("TopicReader", made[-1])

        task = asyncio.create_task(Following("shop", reader, tmp_path / "m").run())
        async with asyncio.timeout(10):
            await second.wait()
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(follow())
