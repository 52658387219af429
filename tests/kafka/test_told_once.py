"""A follower that is told to stop does, though its consumer takes that for a cancellation of its own. Needs no Kafka."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from server.kafka.follower import Following
from tests.server.harness import CALL

if TYPE_CHECKING:
    from pathlib import Path


class Swallowing:
    """Reads nothing, and keeps a cancellation to itself: as aiokafka does where an answer comes in the same turn."""

    there = 1

    def __init__(self, begun: asyncio.Event) -> None:
        self._begun = begun

    async def open(self, _: object) -> None:
        pass

    async def ends(self) -> list[int]:
        return [0]

    async def positions(self) -> list[int]:
        return [0]

    async def fetch(self, *_: object) -> list[Any]:
        self._begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
        return []

    async def close(self) -> None:
        pass


def test_it_stops(tmp_path: Path) -> None:
    async def run() -> bool:
        begun = asyncio.Event()
        reader: Any = Swallowing(begun)
        task = asyncio.create_task(Following("app", lambda: reader, tmp_path / "mirror").run())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task], timeout=CALL)
        return task.cancelled()

    assert asyncio.run(run())
