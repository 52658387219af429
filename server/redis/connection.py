"""How rankd connects to Redis: with a bound on every wait, and without the library's own retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from server.config import RedisConfig

# What any call of Redis can end with where it cannot be reached, is too slow, or refuses.
ERRORS = (RedisError, OSError)
# Connections of one process. More would only queue within Redis, which works on one command at a time.
_CONNECTIONS = 16
# Seconds to wait for a free connection, when others carry large models.
_FREE_SECONDS = 30.0


def reason(errors: BaseException) -> str:
    """The first error's text, however deep in groups it lies; its name where it has none."""
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return str(errors) or type(errors).__name__


def connect(config: RedisConfig, timeout: float) -> Redis:
    """A client that connects when it is first used, and again after every error.

    By default the library waits 5 s, ten times over, so that a black hole costs a minute.

    Args:
        timeout: seconds that a connection, or the answer to one command, may take.
    """
    pool = BlockingConnectionPool.from_url(
        config.url,
        max_connections=_CONNECTIONS,
        timeout=_FREE_SECONDS,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # nothing of the newer one is needed, and old servers and proxies know this one
        client_name="rankd",
    )
    return Redis.from_pool(pool)
