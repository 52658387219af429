"""The relay: keeps models, learners' reports and the status board in step with Redis, and outlives its absence.

Nothing waits for the relay. While Redis is away every server serves the model that it has; when it is back, be it empty,
whoever has the greatest version of a model gives it to the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError

from server.redis.board import Board
from server.redis.connection import ERRORS, connect, hang_up, reason
from server.redis.exchange import ModelExchange, StatusExchange, channel
from server.redis.register import AUDIT_SECONDS

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

    from server.config import Config
    from server.files import DataFolder

log = structlog.get_logger("relay")

# Seconds that an exchange of some kilobytes may take. The board has one every second, so a dead Redis is noticed soon.
_TIMEOUT = 5.0
# Seconds that an exchange of a model may take: 100 MB at 20 Mbit/s.
_MODEL_SECONDS = 60.0
# Seconds between two looks at what no message has told of, at reports and at the board.
_LOOK_SECONDS = 1.0
# Seconds without a message after which the subscription is asked whether it still lives, and to wait for the answer.
_QUIET_SECONDS = 5.0
# Seconds before Redis is tried again: doubled with each failure, and back to the first after a healthy time.
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 2.0
_HEALTHY = 10.0


async def run(config: Config, folder: DataFolder, stop: asyncio.Event) -> None:
    """The relay process: runs until `stop` is set."""
    relay = Relay(config, folder)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(relay.run())
        await stop.wait()
        running.cancel()


class Relay:
    """One node's relay.

    Args:
        timeout: seconds that an exchange of some kilobytes may take.
        audit: seconds between two full looks at values that seem to be in step.
    """

    def __init__(
        self,
        config: Config,
        folder: DataFolder,
        timeout: float = _TIMEOUT,
        audit: float = AUDIT_SECONDS,
    ) -> None:
        assert config.redis.key is not None  # the configuration requires it with a URL
        key, prefix = bytes.fromhex(config.redis.key), config.redis.prefix
        self._poll = config.server.poll.total_seconds()
        self._channel = channel(prefix)
        self._timeout = timeout
        self._redis: Redis = connect(config.redis, timeout)
        self._models = {
            app: ModelExchange(self._redis, key, prefix, app, folder.snapshot(app), audit)
            for app in sorted(config.apps)
        }
        receives = config.server.role == "server"
        self._statuses = [
            StatusExchange(self._redis, key, prefix, app, folder.status(app), receives)
            for app in sorted(config.apps)
        ]
        self._board = Board(config, folder, self._redis, key, self._versions, self._forged)
        # Set when there may be something new about an app's model, here or in Redis.
        self._news = {app: asyncio.Event() for app in self._models}
        self._connected: bool | None = None

    async def run(self) -> None:
        """Runs until cancelled."""
        delay = _FIRST_DELAY
        while True:
            started = time.monotonic()
            try:
                await self._session()
            except* ERRORS as errors:
                self._lost(errors)
            finally:
                await hang_up(self._redis)
            await self._board.write(connected=False)
            if time.monotonic() - started > _HEALTHY:
                delay = _FIRST_DELAY
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    async def _session(self) -> None:
        """Exchanges until Redis fails."""
        async with asyncio.timeout(self._timeout):
            await self._board.exchange()  # writes and reads: where this works all else does
        if self._connected is not True:
            log.info("Redis is there")
        self._connected = True
        for news in self._news.values():
            news.set()
        async with self._redis.pubsub() as subscription, asyncio.TaskGroup() as tasks:
            async with asyncio.timeout(self._timeout):
                await subscription.subscribe(self._channel)
            tasks.create_task(self._listen(subscription))
            tasks.create_task(self._watch_files())
            tasks.create_task(self._look())
            for app in self._models:
                tasks.create_task(self._exchange(app))

    def _lost(self, errors: BaseExceptionGroup[Exception]) -> None:
        if self._connected is not False:
            log.error("Redis is lost; going on without until it is back", error=reason(errors))
        self._connected = False

    async def _exchange(self, app: str) -> None:
        """Compares when there is news, and once in a while."""
        news = self._news[app]
        while True:
            news.clear()
            async with asyncio.timeout(_MODEL_SECONDS):
                await self._models[app].exchange()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await news.wait()

    async def _watch_files(self) -> None:
        while True:
            for app, model in self._models.items():
                if model.changed():
                    self._news[app].set()
            await asyncio.sleep(self._poll)

    async def _listen(self, subscription: PubSub) -> None:
        """A connection that died unnoticed would cost every model a second, so it is asked when it is quiet."""
        asked = False
        while True:
            message = await subscription.get_message(timeout=_QUIET_SECONDS)
            if message is None:
                if asked:
                    raise RedisConnectionError("the subscription does not answer")
                async with asyncio.timeout(self._timeout):
                    await subscription.ping()
            asked = message is None
            if message is not None and message["type"] == "message":
                news = self._news.get(message["data"].decode(errors="replace"))
                if news is not None:
                    news.set()

    async def _look(self) -> None:
        while True:
            for status in self._statuses:
                async with asyncio.timeout(self._timeout):
                    await status.exchange()
            await asyncio.sleep(_LOOK_SECONDS)
            async with asyncio.timeout(self._timeout):
                await self._board.exchange()

    def _versions(self) -> dict[str, tuple[int, ...]]:
        return {app: m.version for app, m in self._models.items() if m.version is not None}

    def _forged(self) -> int:
        models = sum(model.forged for model in self._models.values())
        return models + sum(status.forged for status in self._statuses)
