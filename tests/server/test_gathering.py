"""What comes in turns of the event loop close to each other is done together."""

from __future__ import annotations

import asyncio

import pytest

from server.serving.gathering import MOST, Gathering


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_is_alone_is_done_within_some_turns() -> None:
    async def run() -> None:
        done: list[list[int]] = []
        gathering = Gathering(done.append)
        gathering.add(1)
        assert done == []
        await turns(MOST)
        assert done == [[1]]
        gathering.add(2)
        await turns(MOST)
        assert done == [[1], [2]]

    asyncio.run(run())


@pytest.mark.parametrize("apart", [0, 1, 2, 3])
def test_what_comes_in_turn_after_turn_is_done_at_once(apart: int) -> None:
    async def run() -> None:
        done: list[list[int]] = []
        gathering = Gathering(done.append)
        for item in range(5):
            gathering.add(item)
            await turns(apart)
        await turns(MOST)
        assert done == [[0, 1, 2, 3, 4]]

    asyncio.run(run())


def test_never_more_than_so_many_and_in_their_order() -> None:
    async def run() -> None:
        done: list[list[int]] = []
        gathering = Gathering(done.append)
        for item in range(2 * MOST + 3):
            gathering.add(item)
        await turns(1)
        assert done == [list(range(MOST))], "no waiting for more where there are enough"
        await turns(2 * MOST)
        assert [len(items) for items in done] == [MOST, MOST, 3]
        assert [item for items in done for item in items] == list(range(2 * MOST + 3))

    asyncio.run(run())


def test_what_is_added_while_others_are_done_is_not_lost() -> None:
    async def run() -> None:
        done: list[list[int]] = []

        def work(items: list[int]) -> None:
            done.append(items)
            if items[0] < 3:
                gathering.add(items[0] + 1)

        gathering = Gathering(work)
        gathering.add(1)
        await turns(4 * MOST)
        assert done == [[1], [2], [3]]

    asyncio.run(run())
