"""Puts batches into partitions: one attempt, one request for each broker, and an answer for each batch.

This is not aiokafka's producer, and need not be: what is sent twice is dropped by whoever reads it, so there is nothing that
idempotence would add. But an idempotent producer never gives a batch up: it sends it again and again, for as long
as the broker is away, and its `stop` waits for that. A record says how long it has waited to be sent (`lag_us`), so an attempt
that failed must be made anew, and the old one must not arrive behind one's back.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import defaultdict
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, LeaderNotAvailableError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from server.kafka.ending import end

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

# (topic, partition)
Place = tuple[str, int]

# All replicas in sync have it.
_ALL = -1
# Seconds for closing connections that have been cut already.
_CLOSE_SECONDS = 2.0
_KAFKA_ERRORS = (KafkaError, OSError, TimeoutError)


def batch(messages: Iterable[tuple[bytes | None, bytes]]) -> bytes:
    """One batch of (key, value), at least one. Kafka stores all of it or nothing."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**31 - 1,  # whoever composes the batch sees to its size
    )
    for number, (key, value) in enumerate(messages):
        # The broker stamps them; what stands here does not count.
        builder.append(number, timestamp=0, key=key, value=value, headers=[])
    return bytes(builder.build())


class Sender:
    """Connections to the brokers that lead some topics' partitions. After any failure it is closed, and another one made.

    Args:
        bootstrap: host:port, several with commas.
        timeout: seconds for each request of `open`.
    """

    def __init__(self, bootstrap: str, timeout: float) -> None:
        self._hosts = bootstrap.count(",") + 1
        self._timeout = timeout
        self._client = AIOKafkaClient(
            bootstrap_servers=bootstrap,
            client_id="rankd-shipper",
            request_timeout_ms=int(1000 * timeout),
        )

    async def open(self, topics: Collection[str]) -> None:
        """Connects, and learns who leads the topics' partitions. Raises KafkaError, OSError, TimeoutError."""
        # Each host has its own bound, and this one is behind them.
        async with asyncio.timeout(self._timeout * (self._hosts + 1)):
            await self._client.bootstrap()
            await self._client.set_topics(topics)

    async def send(
        self, batches: Mapping[Place, bytes], seconds: float
    ) -> dict[Place, int | Exception]:
        """Sends one batch to each of these places, and waits until all replicas have them, for so long at most.

        Returns:
            for each place the offset of the batch's first record, or why it is not known to be there. It may be, all
            the same.
        """
        results: dict[Place, int | Exception] = {}
        by_node: dict[int, dict[Place, bytes]] = defaultdict(dict)
        for place, data in batches.items():
            leader = self._client.cluster.leader_for_partition(TopicPartition(*place))
            if leader is None or leader < 0:
                results[place] = LeaderNotAvailableError(f"{place[0]}-{place[1]} has no leader")
            else:
                by_node[leader][place] = data
        answers = (self._produce(node, part, seconds) for node, part in by_node.items())
        for answer in await asyncio.gather(*answers):
            results.update(answer)
        return results

    async def _produce(
        self, node: int, batches: Mapping[Place, bytes], seconds: float
    ) -> dict[Place, int | Exception]:
        topics: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for (topic, partition), data in batches.items():
            topics[topic].append((partition, data))
        request = ProduceRequest(None, _ALL, int(1000 * seconds), list(topics.items()))
        results: dict[Place, int | Exception] = {}
        try:
            async with asyncio.timeout(seconds):
                response = await self._client.send(node, request)
        except TimeoutError:
            late = TimeoutError(f"broker {node} has not answered within {seconds:.1f} s")
            return dict.fromkeys(batches, late)
        except _KAFKA_ERRORS as error:
            return dict.fromkeys(batches, error)
        for topic, partitions in response.topics:
            for partition, code, offset, *_ in partitions:
                refusal = for_code(code)(f"{topic}-{partition}") if code else None
                results[topic, partition] = refusal or offset
        return results

    async def close(self) -> None:
        """Cuts the connections. What the system has not sent by now never will be."""
        for connection in list(self._client._conns.values()):
            # Private, for want of another way: an orderly close would still deliver what is under way, long after its
            # records were sent again over a new connection, and wait for that.
            writer = connection._writer
            if writer is not None:
                sock = writer.transport.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        await end(self._client.close(), _CLOSE_SECONDS)
