"""Decisions by event_id, as far as other servers have told them: so that a retry at another server finds the first answer.

Calls wait for Redis for a bounded time, and not at all while it is away: whether it is back is found out beside them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, cast

import structlog

from rankd.v1 import internal_pb2
from server.redis.connection import ERRORS, connect, hang_up, reason
from server.redis.seal import ForgedError, checked, sign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from server.sections import RedisConfig

log = structlog.get_logger("lookup")

# Seconds that writing one batch may take; no call waits for it.
_WRITE_SECONDS = 2.0
# Bytes of decisions that wait to be written: some seconds' worth at full load. Beyond, the oldest are dropped.
_QUEUE_BYTES = 32 << 20
# What one pipeline writes at most. Redis serves nobody else meanwhile.
_BATCH = 256
_BATCH_BYTES = 1 << 20
# Keys that one command reads at most.
_READ = 1024
# Seconds before Redis is tried again after an error: doubled with each, and back to the first after a healthy time.
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 10.0
_HEALTHY = 10.0


@dataclass(frozen=True, slots=True)
class _Remembered:
    app: str
    event_id: str
    decision: internal_pb2.StoredDecision

    @property
    def size(self) -> int:
        return len(self.decision.payload) + len(self.event_id)


class Lookup:
    """The decisions of all servers that share a log, for as long as `redis.lookup` says. `run` must be running."""

    def __init__(self, config: RedisConfig) -> None:
        assert config.key is not None  # the configuration requires it with a URL
        self._config = config
        self._key = bytes.fromhex(config.key)
        self._timeout = config.timeout.total_seconds()
        self._keep_ms = max(1, round(config.lookup.total_seconds() * 1000))
        self._connected = False
        self._told_lost = False
        self._asked: deque[tuple[list[str], asyncio.Future[list[bytes | None]]]] = deque()
        self._reading = asyncio.Event()
        self._queue: deque[_Remembered] = deque()
        self._queued_bytes = 0
        self._writing = asyncio.Event()
        self._refused = False
        self.forged = 0  # values that were found and not believed
        self.dropped = 0  # decisions that were not written, since there were too many

    @property
    def connected(self) -> bool:
        """Whether calls ask Redis at present."""
        return self._connected

    @property
    def queued(self) -> int:
        """Decisions that wait to be written."""
        return len(self._queue)

    async def find(
        self, app: str, event_ids: Sequence[str]
    ) -> dict[str, internal_pb2.StoredDecision]:
        """Decisions of these events, as far as Redis has them and answers in time."""
        if not self._connected or not event_ids:
            return {}
        keys = [self._name(app, event_id) for event_id in event_ids]
        answer: asyncio.Future[list[bytes | None]] = asyncio.get_running_loop().create_future()
        self._asked.append((keys, answer))
        self._reading.set()
        try:
            async with asyncio.timeout(self._timeout):
                values = await answer
        except TimeoutError:
            return {}
        found = {}
        for event_id, key, value in zip(event_ids, keys, values, strict=False):
            decision = None if value is None else self._open(key, value)
            if decision is not None:
                found[event_id] = decision
        return found

    def remember(self, app: str, event_id: str, decision: internal_pb2.StoredDecision) -> None:
        """Tells the other servers, soon; the first decision of an event stays."""
        self._queue.append(_Remembered(app, event_id, decision))
        self._queued_bytes += self._queue[-1].size
        self._writing.set()
        self._shorten()

    async def run(self) -> None:
        """Reads and writes until cancelled; then what is left is written, if Redis is there."""
        delay = _FIRST_DELAY
        redis = connect(self._config, self._timeout)
        try:
            while True:
                started = time.monotonic()
                try:
                    await self._session(redis)
                except* ERRORS as errors:
                    self._lost(errors)
                    await hang_up(redis)
                if time.monotonic() - started > _HEALTHY:
                    delay = _FIRST_DELAY
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
        finally:
            await self._drain(redis)
            await hang_up(redis)

    async def _session(self, redis: Redis) -> None:
        """Reads and writes until Redis fails."""
        async with asyncio.timeout(self._timeout):  # slower than that is of no use to calls
            await redis.ping()
        if self._told_lost:
            log.info("decisions of other servers are looked up again")
        self._told_lost, self._connected = False, True
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(redis))
                tasks.create_task(self._write(redis))
        finally:
            self._connected = False
            self._answer_nothing()

    def _lost(self, errors: BaseExceptionGroup[Exception]) -> None:
        if self._told_lost:
            return
        self._told_lost = True
        log.error(
            "Redis is lost; a retry at another server decides anew until it is back",
            error=reason(errors),
        )

    async def _read(self, redis: Redis) -> None:
        """One command at a time: while it is under way the next calls gather."""
        while True:
            await self._reading.wait()
            self._reading.clear()
            while self._asked:
                await self._read_some(redis)

    async def _read_some(self, redis: Redis) -> None:
        calls = [self._asked.popleft()]
        count = len(calls[0][0])
        while self._asked and count + len(self._asked[0][0]) <= _READ:
            calls.append(self._asked.popleft())
            count += len(calls[-1][0])
        values: list[bytes | None] = []
        try:
            async with asyncio.timeout(self._timeout):
                read = await redis.mget([key for keys, _ in calls for key in keys])
            values = cast("list[bytes | None]", read)  # the client decodes nothing
        finally:
            at = 0
            for keys, answer in calls:
                if not answer.done():
                    answer.set_result(values[at : at + len(keys)])
                at += len(keys)

    def _answer_nothing(self) -> None:
        for _, answer in self._asked:
            if not answer.done():
                answer.set_result([])
        self._asked.clear()

    async def _write(self, redis: Redis) -> None:
        while True:
            await self._writing.wait()
            self._writing.clear()
            while self._queue:
                await self._write_some(redis)

    async def _write_some(self, redis: Redis) -> None:
        batch: list[_Remembered] = []
        size = 0
        while self._queue and len(batch) < _BATCH and size < _BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        self._queued_bytes -= size
        try:
            async with redis.pipeline(transaction=False) as pipe:
                for one in batch:
                    name = self._name(one.app, one.event_id)
                    value = sign(self._key, name, one.decision.SerializeToString())
                    pipe.set(name, value, nx=True, px=self._keep_ms)
                async with asyncio.timeout(_WRITE_SECONDS):
                    results = await pipe.execute(raise_on_error=False)
        except BaseException:  # a later attempt may find some there, which then stay
            self._queue.extendleft(reversed(batch))
            self._queued_bytes += size
            self._writing.set()
            self._shorten()
            raise
        errors = [result for result in results if isinstance(result, Exception)]
        if errors and not self._refused:
            log.error("Redis refuses to keep decisions", error=str(errors[0]))
        self._refused = bool(errors)

    def _shorten(self) -> None:
        while self._queued_bytes > _QUEUE_BYTES:
            self._queued_bytes -= self._queue.popleft().size
            self.dropped += 1

    async def _drain(self, redis: Redis) -> None:
        """Servers stop one after the other, and their clients' retries go to those that are left."""
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                while self._queue and not self._told_lost:
                    await self._write_some(redis)
        except ERRORS as error:
            log.warning("could not tell other servers of the last decisions", error=str(error))

    def _name(self, app: str, event_id: str) -> str:
        """Event ids may be long and hold anything; app names hold no NUL."""
        digest = blake2b(f"{app}\0{event_id}".encode(), digest_size=32).hexdigest()
        return f"{self._config.prefix}:decision:{digest}"

    def _open(self, name: str, value: bytes) -> internal_pb2.StoredDecision | None:
        try:
            data = checked(self._key, name, value)
        except ForgedError as error:
            if not self.forged:
                log.error(
                    "refused a forged decision in Redis; later ones are only counted",
                    error=str(error),
                )
            self.forged += 1
            return None
        return internal_pb2.StoredDecision.FromString(data)
