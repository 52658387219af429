"""Kafka away for longer than a consumer is kept: the follower makes another one, and nothing of the first is left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from server.kafka import follower as follower_module
from server.kafka.consumer import TopicReader
from server.kafka.follower import Following
from tests.kafka.follow import Cluster, filled
from tests.server.harness import eventually
from tests.server.topics import APP, Topic

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.services.kafka import Kafka
    from tests.services.proxy import Proxy

# Outages. In each one the consumer is most likely, but not certainly, between two attempts when it is given up.
_OUTAGES = 3


def clients() -> int:
    """Clients of Kafka that live in this loop: each keeps up its metadata, and for that a connection, by a task."""
    names = (getattr(task.get_coro(), "__name__", "") for task in asyncio.all_tasks())
    return sum(name == "_md_synchronizer" for name in names)


def test_a_consumer_that_is_given_up_while_nobody_listens_leaves_nothing_behind(
    breakable: tuple[Kafka, Proxy, Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "_ENDS_SECONDS", 0.2)
    monkeypatch.setattr(follower_module, "_STUCK_SECONDS", 1.0)
    _, proxy, cluster = breakable
    topic = Topic()
    topic.config(1, 1)
    filled(cluster, topic)
    readers: list[TopicReader] = []

    def reader() -> TopicReader:
        readers.append(TopicReader(cluster.bootstrap, cluster.topic(), 2.0))
        return readers[-1]

    following = Following(APP, reader, tmp_path / "m")

    async def merges_more() -> None:
        known = len(topic.messages)
        topic.now_us += 10**6
        topic.send(known + 1)
        await asyncio.to_thread(cluster.write, topic.messages[known:])
        await asyncio.to_thread(
            eventually, f"record {known + 1}", lambda: following.merger.sequence > known
        )

    async def follow() -> None:
        task = asyncio.create_task(following.run())
        await merges_more()
        assert clients() == 1
        for _ in range(_OUTAGES):
            made = len(readers)
            proxy.refuse()
            await asyncio.to_thread(
                eventually, "another consumer", lambda made=made: task.done() or len(readers) > made
            )
            proxy.heal()
            assert not task.done()
            await merges_more()
            assert clients() == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert clients() == 0

    asyncio.run(follow())
