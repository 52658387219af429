"""Dead letters: what a topic holds and nobody can read, copied to a topic of its own, for somebody to look at."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaProducer

from server.kafka.consumer import KAFKA_ERRORS
from server.kafka.ending import end

if TYPE_CHECKING:
    from server.fold.merge import DeadLetter

log = structlog.get_logger("follower")

# Letters that wait to be sent; further ones are dropped. The originals stay where they are, until retention takes them.
_QUEUE = 256
# Bytes of a letter that are kept: enough to see what it is, and 16 MB for a full queue.
_KEEP = 64 << 10
# Seconds between two attempts to reach Kafka.
_RETRY_SECONDS = 2.0
# Seconds for sending what is under way when it closes.
_CLOSE_SECONDS = 2.0


class DeadLetters:
    """Sends dead letters as far as it can, and never makes anybody wait.

    A letter's key is PARTITION/OFFSET of the original, so that compaction leaves one copy; its headers are `reason`
    and, where it was cut, `size`: the original's bytes.
    """

    def __init__(self, bootstrap: str, timeout: float) -> None:
        self._bootstrap = bootstrap
        self._timeout = timeout
        self._queue = asyncio.Queue[tuple[str, "DeadLetter"]](_QUEUE)
        self._producer: AIOKafkaProducer | None = None
        self.counts: Counter[str] = Counter()  # sent, dropped

    def put(self, topic: str, letter: DeadLetter) -> None:
        """Takes a letter, or drops it."""
        try:
            self._queue.put_nowait((topic, letter))
        except asyncio.QueueFull:
            self.counts["dropped"] += 1

    async def run(self) -> None:
        """Sends until cancelled."""
        try:
            while True:
                topic, letter = await self._queue.get()
                try:
                    await self._send(topic, letter)
                except KAFKA_ERRORS as error:
                    self.counts["dropped"] += 1
                    log.warning("cannot send dead letters", topic=topic, error=repr(error))
                    await self._close()
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            await self._close()

    async def _send(self, topic: str, letter: DeadLetter) -> None:
        async with asyncio.timeout(self._timeout):
            if self._producer is None:
                self._producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks=1,
                    request_timeout_ms=int(1000 * self._timeout),
                )
                await self._producer.start()
            message = letter.message
            headers = [("reason", letter.reason.encode(errors="replace"))]
            if len(message.value) > _KEEP:
                headers.append(("size", str(len(message.value)).encode()))
            sent = await self._producer.send(
                topic,
                message.value[:_KEEP],
                f"{message.partition}/{message.offset}".encode(),
                headers=headers,
            )
        sent.add_done_callback(self._count)

    def _count(self, sent: asyncio.Future[object]) -> None:
        failed = sent.cancelled() or sent.exception() is not None
        self.counts["dropped" if failed else "sent"] += 1

    async def _close(self) -> None:
        if self._producer is None:
            return
        producer, self._producer = self._producer, None
        await end(producer.stop(), min(self._timeout, _CLOSE_SECONDS))  # what it still had is lost
