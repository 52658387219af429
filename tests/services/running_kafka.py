"""A Kafka that runs, whoever started it: what tests ask of it besides producing and consuming."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from tests.server.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

T = TypeVar("T")

# Milliseconds that one request may take.
_REQUEST = 5_000


def _run(work: Coroutine[None, None, T]) -> T:
    """Runs it on an event loop in a thread of its own: the caller may be a coroutine of another loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class RunningKafka:
    """A Kafka that somebody has started: it can be used, and not broken.

    Args:
        bootstrap: one host:port, or several with commas.
    """

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def broker_ids(self) -> set[int]:
        """The brokers that a metadata request lists, which are those that take requests. Empty while nobody answers."""
        return _run(self._broker_ids())

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        replication: int = 1,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """Creates a topic and waits until all its partitions have leaders.

        Args:
            name: a name that is not taken.
            config: settings of the topic, e.g. {"message.timestamp.type": "LogAppendTime"}.
        """
        topic = NewTopic(name, partitions, replication, topic_configs=dict(config or {}))
        _run(self._create_topic(topic))
        eventually(f"leaders of {name}", lambda: len(self.leaders(name)) == partitions)

    def leaders(self, topic: str) -> dict[int, int]:
        """Partition -> the broker that leads it, without those that have no leader. Empty while nobody answers."""
        return _run(self._leaders(topic))

    async def _broker_ids(self) -> set[int]:
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap, request_timeout_ms=_REQUEST)
        try:
            await client.bootstrap()
            return {broker.nodeId for broker in client.cluster.brokers()}
        except KafkaError:
            return set()
        finally:
            await client.close()

    async def _create_topic(self, topic: NewTopic) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            await admin.start()
            reply = await admin.create_topics([topic])
        finally:
            await admin.close()
        for name, code, *message in reply.topic_errors:
            if code:
                raise RuntimeError(f"Kafka did not create topic {name}: error {code}, {message}")

    async def _leaders(self, topic: str) -> dict[int, int]:
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap, request_timeout_ms=_REQUEST)
        try:
            await client.bootstrap()
            await client.set_topics([topic])
            led = client.cluster.available_partitions_for_topic(topic) or ()
            return {p: client.cluster.leader_for_partition(TopicPartition(topic, p)) for p in led}
        except KafkaError:
            return {}
        finally:
            await client.close()
