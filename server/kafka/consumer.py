"""Reads a topic's partitions from given offsets on: never from anywhere else, however the broker would like it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, UnknownTopicOrPartitionError

from server.fold.merge import Message
from server.fold.records import LogError
from server.kafka.ending import end_consumer

if TYPE_CHECKING:
    from collections.abc import Sequence

# Any of them: make another consumer and try again.
KAFKA_ERRORS = (KafkaError, OSError, TimeoutError)
# Bytes of one partition in one answer. The broker sends a record that is larger than that all the same, once it is the
# first in an answer (KIP-74); so this bounds what waits here of partitions that run ahead of others: 64 MB for 64 of them.
_PARTITION_BYTES = 1 << 20
# Bytes of all partitions in one answer of one broker.
_ANSWER_BYTES = 16 << 20
# Milliseconds that a broker waits for something to come; then its empty answer tells that it is there.
_LONG_POLL = 500
# Seconds for closing connections, which waits for nobody.
_CLOSE_SECONDS = 2.0
_GONE = (
    "Copy apps/APP/checkpoints and apps/APP/artefacts of another learner here, and delete apps/APP/merged.sqlite*. "
    "Without any such copy the log cannot be folded any more: begin a new one, with another kafka.prefix"
)
# LogAppendTime: the broker's clock.
_BY_BROKER = 1

# It repeats itself several times a second while a broker is away; whoever uses it here says it once.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class TopicReader:
    """One consumer of one topic. After any error it is closed, and another one made.

    Args:
        bootstrap: host:port, several with commas.
        timeout: seconds for each request.
        gone: what to do where the topic no longer has what is asked for.

    Raises (all methods):
        LogError: what is asked for is not there, or stamped by its producer; trying again would not help.
        KAFKA_ERRORS: Kafka is away, or refuses.
    """

    def __init__(self, bootstrap: str, topic: str, timeout: float, gone: str = _GONE) -> None:
        self.topic = topic
        self._gone = gone
        self._bootstrap = bootstrap
        self._timeout = timeout
        self._consumer: AIOKafkaConsumer | None = None
        self._partitions: list[TopicPartition] = []

    async def open(self, offsets: Sequence[int]) -> None:
        """Connects, and takes its place: one offset for each partition from 0."""
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            request_timeout_ms=int(1000 * self._timeout),
            retry_backoff_ms=100,
            metadata_max_age_ms=30_000,
            fetch_max_wait_ms=_LONG_POLL,
            fetch_max_bytes=_ANSWER_BYTES,
            max_partition_fetch_bytes=_PARTITION_BYTES,
        )
        hosts = self._bootstrap.count(",") + 1
        async with asyncio.timeout(self._timeout * (hosts + 1)):
            await self._consumer.start()
            # Asked of all topics, because a broker may create one that it is asked for by name.
            if self.topic not in await self._consumer.topics():
                raise UnknownTopicOrPartitionError(f"topic {self.topic} is not there yet")
        wanted = [TopicPartition(self.topic, partition) for partition in range(len(offsets))]
        self._partitions = wanted[:1]
        self._consumer.assign(wanted[:1])
        await self.ends()  # makes it learn of the topic's partitions
        there = len(self._consumer.partitions_for_topic(self.topic) or ())
        if there < len(wanted):
            raise UnknownTopicOrPartitionError(
                f"topic {self.topic} has {there} partitions, and should have {len(wanted)}; waiting for the others"
            )
        self._partitions = wanted
        self._consumer.assign(wanted)
        for partition, offset in zip(wanted, offsets, strict=True):
            self._consumer.seek(partition, offset)
        await self._check(offsets)

    @property
    def there(self) -> int:
        """Partitions that the topic has, by what is known."""
        return len(self._opened.partitions_for_topic(self.topic) or ())

    async def fetch(self, wanted: Sequence[int], seconds: float, most: int) -> list[Message]:
        """What comes within that time, at most so many messages.

        Args:
            wanted: partitions; what comes of the others waits, and no more of them is asked for.
        """
        # None are all, and quicker.
        some = [self._partitions[n] for n in wanted] if len(wanted) < len(self._partitions) else []
        try:
            async with asyncio.timeout(seconds + self._timeout):
                found = await self._opened.getmany(
                    *some, timeout_ms=int(1000 * seconds), max_records=most
                )
        except OffsetOutOfRangeError:
            await self._check(await self.positions())
            raise
        messages = []
        for (_, partition), records in found.items():
            for record in records:
                if record.timestamp_type != _BY_BROKER:
                    raise LogError(
                        f"topic {self.topic}, partition {partition}, offset {record.offset}: stamped by its producer, and "
                        "not by the broker, so that its place in the log is anybody's guess. A topic of rankd needs "
                        "message.timestamp.type=LogAppendTime from its first record on: begin a new one, with another "
                        "kafka.prefix"
                    )
                message = Message(
                    partition, record.offset, 1000 * record.timestamp, record.value or b""
                )
                messages.append(message)
        return messages

    async def ends(self) -> list[int]:
        """For each partition, the offset that its next record will have."""
        async with asyncio.timeout(self._timeout):
            ends = await self._opened.end_offsets(self._partitions)
        return [ends[partition] for partition in self._partitions]

    async def positions(self) -> list[int]:
        """For each partition, the offset that is fetched next: also beyond marks of the broker's own."""
        async with asyncio.timeout(self._timeout):
            return [await self._opened.position(partition) for partition in self._partitions]

    async def close(self) -> None:
        """May be called again."""
        if self._consumer is None:
            return
        consumer, self._consumer = self._consumer, None
        await end_consumer(consumer, _CLOSE_SECONDS)

    @property
    def _opened(self) -> AIOKafkaConsumer:
        assert self._consumer is not None
        return self._consumer

    async def _check(self, offsets: Sequence[int]) -> None:
        """Whether the topic still has, and already has, what comes at those offsets."""
        async with asyncio.timeout(self._timeout):
            begins = await self._opened.beginning_offsets(self._partitions)
        ends = await self.ends()
        for partition, needed in enumerate(offsets):
            where = f"topic {self.topic}, partition {partition}"
            begin, end = begins[self._partitions[partition]], ends[partition]
            if needed < begin:
                raise LogError(
                    f"{where}: the topic begins at offset {begin}, but offset {needed} is needed; what was there is gone "
                    f"by the topic's retention. {self._gone}"
                )
            if needed > end:
                raise LogError(
                    f"{where}: the topic ends at offset {end}, but everything up to {needed} has been read before: it was "
                    "made anew, or lost records. If it was made anew on purpose, delete apps/APP here, on every learner; "
                    "what was learned is gone with the log"
                )
