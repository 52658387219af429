"""Whether a journal and the topics still tell the same story: neither was replaced by an older one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from google.protobuf.message import DecodeError

from rankd.v1 import log_pb2 as pb
from server.fold.records import LogError
from server.kafka.ending import end_consumer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.journal.store import JournalReader
    from server.kafka.sender import Place
    from server.sections import KafkaConfig

log = structlog.get_logger("shipper")

# What other nodes have sent since this one was last there has to be read through: so much of it, and no more. A restored
# journal's own records come first there; and the merge of the topic finds what is missed here.
_MOST_MESSAGES = 100_000
_MOST_SECONDS = 10.0
_FETCH_MS = 500
_CLOSE_SECONDS = 2.0

_DOCS = "See docs/operations.md"


async def check(config: KafkaConfig, offsets: Mapping[Place, int], journal: JournalReader) -> None:
    """Reads on in each place from the last offset that is known to be this journal's.

    A journal that was restored from an old backup finds records of its own there that it does not have. After a
    crash it finds some that it does have: they were sent, and the position was not yet kept.

    Raises:
        LogError: the journal is older than the topics, or the topics are older than the journal.
        KafkaError, OSError, TimeoutError: Kafka is away, or slow; try again.
    """
    if not offsets:
        return
    timeout = config.timeout.total_seconds()
    places = {TopicPartition(*place): offset for place, offset in offsets.items()}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=config.bootstrap,
        group_id=None,
        enable_auto_commit=False,
        request_timeout_ms=int(1000 * timeout),
        max_partition_fetch_bytes=config.max_record_bytes,
    )
    try:
        async with asyncio.timeout(timeout * (2 + config.bootstrap.count(","))):
            await consumer.start()
        consumer.assign(list(places))
        async with asyncio.timeout(timeout):
            begins = await consumer.beginning_offsets(list(places))
            ends = await consumer.end_offsets(list(places))
        for place, offset in places.items():
            if ends[place] <= offset:
                raise lost(place, offset, f"ends at offset {ends[place]}")
            consumer.seek(place, max(offset + 1, begins[place]))
        await _read(consumer, ends, journal, timeout)
    finally:
        await end_consumer(consumer, _CLOSE_SECONDS)


async def _read(
    consumer: AIOKafkaConsumer,
    ends: dict[TopicPartition, int],
    journal: JournalReader,
    seconds: float,
) -> None:
    """Reads to those ends, or as far as it may take. `seconds` is for each request."""
    folder = journal.folder()
    left = _MOST_MESSAGES
    until = time.monotonic() + _MOST_SECONDS
    while True:
        async with asyncio.timeout(seconds):
            behind = [place for place, end in ends.items() if await consumer.position(place) < end]
        if not behind:
            return
        if left <= 0 or time.monotonic() > until:
            log.warning("too much was sent since to read it all; checked its beginning only")
            return
        async with asyncio.timeout(seconds + _FETCH_MS / 1000):
            found = await consumer.getmany(*behind, timeout_ms=_FETCH_MS, max_records=left)
        for place, messages in found.items():
            left -= len(messages)
            for message in messages:
                _compare(message.value, place, message.offset, folder, journal)


def _compare(
    value: bytes | None, place: TopicPartition, offset: int, folder: str, journal: JournalReader
) -> None:
    try:
        header = pb.Record.FromString(value or b"").header
    except DecodeError:
        return  # not ours
    if header.node.rpartition(".")[0] != folder:
        return
    first, last = journal.bounds()
    if header.sequence < first:
        return  # an old copy
    if header.sequence <= last and journal.read(header.sequence).node == header.node:
        return
    here = "it ends before that" if header.sequence > last else "it has another one in its place"
    raise LogError(
        f"this journal was restored from an old backup: topic {place.topic}, partition {place.partition}, offset {offset} "
        f"has record {header.sequence} that it once wrote as {header.node}, and {here}. It would write records again under "
        "numbers that are taken. Empty the data folder and start again: the node gets a new identity, and what it had "
        f"logged is in Kafka. {_DOCS}"
    )


def lost(place: TopicPartition | Place, offset: int, what: str) -> LogError:
    """The topic no longer has what was sent there."""
    topic, partition = place
    return LogError(
        f"topic {topic}, partition {partition} {what}, but this node's records have been there up to offset {offset}: the "
        "topic was deleted and made again, restored from an old backup, or Kafka lost what it had acknowledged. What is "
        f"missing cannot be sent once more. Begin a new log, with another kafka.prefix and empty data folders. {_DOCS}"
    )
