"""How rankd connects to Redis: without the library's own waits and retries.

By default the library waits 5 s, ten times over, so that a black hole costs a minute. Its timeout of a command must not be
used either: before Python 3.12 it loses a cancellation that comes while a command is being sent (asyncio.wait_for), and a
task group that waits for the cancelled task waits for ever. So whoever sends a command puts asyncio.timeout around it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from server.sections import RedisConfig

# What any call of Redis can end with where it cannot be reached, is too slow, or refuses. RuntimeError is what uvloop, the loop inside
# Envoy, says of a write to a connection that was lost.
ERRORS = (RedisError, OSError, RuntimeError)
# Connections of one process. More would only queue within Redis, which works on one command at a time.
_CONNECTIONS = 16
# Seconds to wait for a free connection, when others carry large models.
_FREE_SECONDS = 30.0


def reason(errors: BaseException) -> str:
    """The first error's text, however deep in groups it lies."""
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return str(errors) or "no answer in time"


def connect(config: RedisConfig, timeout: float) -> Redis:
    """A client that connects when it is first used, and again after every error.

    Args:
        timeout: seconds that making or closing a connection may take. Commands are bounded by who sends them.
    """
    pool = BlockingConnectionPool.from_url(
        config.url,
        max_connections=_CONNECTIONS,
        timeout=_FREE_SECONDS,
        socket_timeout=None,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # nothing of the newer one is needed, and old servers and proxies know this one
        client_name="rankd",
    )
    return Redis.from_pool(pool)


async def hang_up(redis: Redis) -> None:
    """Closes all connections: after an error others may be as dead, and not know it yet."""
    with contextlib.suppress(*ERRORS):
        await redis.connection_pool.disconnect()
