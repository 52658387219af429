"""Sender and TopicReader against librdkafka's mock of a broker: what can be shown where there is no Java."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from server.fold.records import LogError
from server.kafka.consumer import TopicReader
from server.kafka.sender import Sender, batch

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 10.0
TOPIC = "rankd.shop"


def send(bootstrap: str, batches: Mapping[tuple[str, int], bytes]) -> dict[tuple[str, int], object]:
    async def sending() -> dict[tuple[str, int], object]:
        sender = Sender(bootstrap, TIMEOUT)
        async with aclosing(_Closing(sender)):
            await sender.open([TOPIC])
            return dict(await sender.send(batches, TIMEOUT))

    return asyncio.run(sending())


class _Closing:
    """For aclosing()."""

    def __init__(self, what: Sender | TopicReader) -> None:
        self.aclose = what.close


def values(bootstrap: str, partition: int, offset: int, count: int) -> list[bytes | None]:
    """What another client reads there."""

    async def reading() -> list[bytes | None]:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none")
        await consumer.start()
        try:
            place = TopicPartition(TOPIC, partition)
            consumer.assign([place])
            consumer.seek(place, offset)
            async with asyncio.timeout(TIMEOUT):
                return [(await consumer.getone(place)).value for _ in range(count)]
        finally:
            await consumer.stop()

    return asyncio.run(reading())


def read(bootstrap: str, offset: int) -> list[bytes]:
    async def reading() -> list[bytes]:
        reader = TopicReader(bootstrap, TOPIC, TIMEOUT)
        async with aclosing(_Closing(reader)):
            await reader.open([offset])
            return [message.value for message in await reader.fetch([0], 1.0, 10)]

    return asyncio.run(reading())


def test_a_batch_is_stored_whole_and_its_first_offset_is_told(mock_kafka: str) -> None:
    one = batch([(b"key", b"a"), (None, b"b")])
    two = batch([(b"key", b"c")])
    assert send(mock_kafka, {(TOPIC, 0): one, (TOPIC, 1): two}) == {(TOPIC, 0): 0, (TOPIC, 1): 0}
    assert send(mock_kafka, {(TOPIC, 0): two}) == {(TOPIC, 0): 2}
    assert values(mock_kafka, 0, 1, 2) == [b"b", b"c"]
    assert values(mock_kafka, 1, 0, 1) == [b"c"]


def test_a_partition_without_a_leader_is_an_answer_and_the_others_are_stored(
    mock_kafka: str,
) -> None:
    one = batch([(None, b"a")])
    found = send(mock_kafka, {(TOPIC, 0): one, (TOPIC, 99): one})
    assert found[TOPIC, 0] == 0
    assert "has no leader" in str(found[TOPIC, 99])


def test_an_offset_beyond_the_end_is_refused(mock_kafka: str) -> None:
    send(mock_kafka, {(TOPIC, 0): batch([(None, b"a"), (None, b"b")])})
    with pytest.raises(LogError, match="the topic ends at offset 2"):
        read(mock_kafka, 3)


def test_records_that_their_producer_stamped_are_refused(mock_kafka: str) -> None:
    """The mock stamps none."""
    send(mock_kafka, {(TOPIC, 0): batch([(None, b"a")])})
    with pytest.raises(LogError, match="offset 0: stamped by its producer"):
        read(mock_kafka, 0)
