"""Keys of a test's own in a Redis that tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.redis.harness import Keys, prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.redis import RunningRedis


@pytest.fixture
def keys(redis_server: RunningRedis) -> Iterator[Keys]:
    with Keys(redis_server.url, prefix()) as made:
        yield made
        for name in made.all():
            made.delete(name.removeprefix(f"{made.prefix}:"))
