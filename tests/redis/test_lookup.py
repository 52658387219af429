"""Decisions are found by event_id at other servers; a Redis that fails costs a call its timeout at most, and only once."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from rankd.v1 import internal_pb2
from server.redis import lookup as module
from server.redis.lookup import Lookup
from server.redis.seal import sign
from tests.redis.harness import KEY, SECONDS, Keys, config
from tests.services.proxy import Proxy
from tests.services.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.services.redis import RunningRedis

# Where Redis fails. Elsewhere it has time to answer, also on a busy machine.
TIMEOUT = timedelta(milliseconds=300)


def decision(sequence: int = 1, payload: bytes = b"decision") -> internal_pb2.StoredDecision:
    return internal_pb2.StoredDecision(node="node.1", sequence=sequence, payload=payload)


def lookup(url: str, prefix: str, timeout: timedelta = timedelta(seconds=SECONDS)) -> Lookup:
    redis = {"url": url, "key": KEY, "prefix": prefix, "timeout": timeout}
    return Lookup(config(url, prefix, redis=redis).redis)


async def until(what: str, probe: Callable[[], object | Awaitable[object]]) -> None:
    """Waits until the probe's answer is true."""
    deadline = time.monotonic() + SECONDS
    while True:
        answer = probe()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {SECONDS:g} s")
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(*lookups: Lookup) -> AsyncIterator[None]:
    """They run, and are connected."""
    tasks = [asyncio.create_task(each.run()) for each in lookups]
    try:
        for each in lookups:
            await until("connection", lambda each=each: each.connected)  # type: ignore[misc]
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


async def written(one: Lookup, app: str, *events: str) -> None:
    """Waits until Redis has them."""

    async def found() -> bool:
        return set(await one.find(app, events)) == set(events)

    await until(f"{events}", found)


# -- what is found ---------------------------------------------------------------------------------


def test_one_finds_what_another_remembers(redis_server: RunningRedis, keys: Keys) -> None:
    here, there = (lookup(redis_server.url, keys.prefix) for _ in range(2))
    events = ["e", "x" * 256, "new\nline \x01 :* é 漢", "shop\0e"]

    async def main() -> None:
        async with running(here, there):
            for i, event in enumerate(events):
                here.remember("shop", event, decision(i))
            await written(there, "shop", *events)
            found = await there.find("shop", ["unknown", *events])
            assert found == {event: decision(i) for i, event in enumerate(events)}
            assert await there.find("news", events) == {}, "another app"
            assert await there.find("shop", []) == {}

    asyncio.run(main())
    for name in keys.all():
        assert 0 < keys.milliseconds_left(name) <= 600_000, "ten minutes"


def test_the_first_decision_of_an_event_stays(redis_server: RunningRedis, keys: Keys) -> None:
    here, there = (lookup(redis_server.url, keys.prefix) for _ in range(2))

    async def main() -> None:
        async with running(here, there):
            here.remember("shop", "e", decision(1))
            await written(there, "shop", "e")
            there.remember("shop", "e", decision(2))
            there.remember("shop", "f", decision(3))
            await written(here, "shop", "f")
            assert await here.find("shop", ["e", "f"]) == {"e": decision(1), "f": decision(3)}

    asyncio.run(main())


def test_many_calls_at_once_get_each_its_own_answer(redis_server: RunningRedis, keys: Keys) -> None:
    here, there = (lookup(redis_server.url, keys.prefix) for _ in range(2))

    async def main() -> None:
        async with running(here, there):
            for i in range(3_000):
                here.remember("shop", f"e{i}", decision(i))
            await written(there, "shop", "e2999")

            async def call(i: int) -> None:
                asked = [f"e{i}", f"unknown {i}", f"e{i + 1}"]
                found = await there.find("shop", asked)
                assert found == {f"e{i}": decision(i), f"e{i + 1}": decision(i + 1)}

            for start in range(0, 2_999, 300):
                calls = range(start, min(start + 300, 2_999))
                await asyncio.gather(*(call(i) for i in calls))

    asyncio.run(main())


def test_forged_decisions_count_as_absent(redis_server: RunningRedis, keys: Keys) -> None:
    here = lookup(redis_server.url, keys.prefix)

    async def main() -> None:
        async with running(here):
            here.remember("shop", "good", decision())
            await written(here, "shop", "good")
            (name,) = keys.all()
            good = keys.get(name)
            data = decision().SerializeToString()
            flipped = bytes([good[0] ^ 1]) + good[1:]
            for forged in (flipped, good[:-1], data, b"", sign(bytes(32), name, data)):
                keys.put(name, forged)
                assert await here.find("shop", ["good"]) == {}
            assert here.forged == 5
            # Another event's decision in this one's place.
            here.remember("shop", "other", decision(2))
            await written(here, "shop", "other")
            (other,) = set(keys.all()) - {name}
            keys.put(name, keys.get(other))
            assert await here.find("shop", ["good", "other"]) == {"other": decision(2)}

    asyncio.run(main())


def test_keys_of_another_type_count_as_absent(redis_server: RunningRedis, keys: Keys) -> None:
    here = lookup(redis_server.url, keys.prefix)

    async def main() -> None:
        async with running(here):
            here.remember("shop", "e", decision())
            await written(here, "shop", "e")
            (name,) = keys.all()
            parts = name.removeprefix(f"{keys.prefix}:").split(":")
            keys.delete(*parts)
            keys.write(*parts, a="hash")
            assert await here.find("shop", ["e"]) == {}
            here.remember("shop", "e", decision())
            here.remember("shop", "f", decision())
            await written(here, "shop", "f")
            assert here.connected

    asyncio.run(main())


# -- Redis fails -----------------------------------------------------------------------------------


@pytest.fixture
def server(can_start_redis: None, tmp_path: Path) -> Iterator[RedisServer]:
    """One that may be broken."""
    with RedisServer(tmp_path / "redis") as made:
        yield made


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", server.port) as made:
        yield made


@pytest.mark.parametrize("fault", ["killed", "paused", "refusing", "cut off", "slow"])
def test_calls_go_without_a_redis_that_fails_until_it_is_back(
    server: RedisServer, proxy: Proxy, fault: str
) -> None:
    faults: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "killed": (server.kill, server.start),
        "paused": (server.pause, server.resume),
        "refusing": (proxy.refuse, proxy.heal),
        "cut off": (proxy.cut, proxy.heal),
        "slow": (lambda: proxy.delay(2 * TIMEOUT.total_seconds()), proxy.heal),
    }
    begin, end = faults[fault]
    here = lookup(f"redis://127.0.0.1:{proxy.port}", "lookup", TIMEOUT)

    async def main() -> None:
        async with running(here):
            here.remember("shop", "before", decision(1))
            await written(here, "shop", "before")
            await asyncio.to_thread(begin)
            # All at once: together they wait for one timeout, and those after them for none.
            found = await asyncio.gather(*(here.find("shop", ["before"]) for _ in range(100)))
            assert found == [{}] * 100
            await until("it to be noticed", lambda: not here.connected)
            here.remember("shop", "meanwhile", decision(2))
            for _ in range(1_000):
                call = here.find("shop", ["before"])
                with pytest.raises(StopIteration) as ended:
                    call.send(None)  # runs to its end without waiting for anything
                assert ended.value.value == {}
            await asyncio.to_thread(end)
            await until("connection", lambda: here.connected)
            await written(here, "shop", "meanwhile")

    asyncio.run(main())


def test_a_redis_that_refuses_writes_is_still_read(server: RedisServer) -> None:
    here = lookup(server.url, "lookup")

    async def main() -> None:
        with Keys(server.url, "lookup") as keys:
            async with running(here):
                here.remember("shop", "before", decision(1))
                await written(here, "shop", "before")
                keys.configure("maxmemory", "1")
                here.remember("shop", "refused", decision(2))
                await until("the attempt", lambda: not here.queued)
                found = await here.find("shop", ["before", "refused"])
                assert found == {"before": decision(1)}
                assert here.connected

    asyncio.run(main())


def test_without_a_redis_the_oldest_are_dropped_and_counted(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUEUE_BYTES", 10_000)
    server.kill()
    here = lookup(server.url, "lookup", TIMEOUT)

    async def main() -> None:
        for i in range(100):
            here.remember("shop", f"{i:05}", decision(i, b"x" * 995))
        assert (here.queued, here.dropped) == (10, 90)
        await asyncio.to_thread(server.start)
        async with running(here):
            await written(here, "shop", *(f"{i:05}" for i in range(90, 100)))
            assert await here.find("shop", [f"{i:05}" for i in range(90)]) == {}

    asyncio.run(main())


def test_what_is_remembered_last_is_written_before_the_end(
    redis_server: RunningRedis, keys: Keys
) -> None:
    """Servers stop one after the other: that is when retries come to others."""
    here, there = (lookup(redis_server.url, keys.prefix) for _ in range(2))

    async def main() -> None:
        async with running(there):
            async with running(here):
                for i in range(2_000):
                    here.remember("shop", f"e{i}", decision(i))
            found = await there.find("shop", [f"e{i}" for i in range(2_000)])
            assert len(found) == 2_000

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["killed", "paused"])
def test_the_end_does_not_wait_for_a_redis_that_is_away(server: RedisServer, fault: str) -> None:
    here = lookup(server.url, "lookup", TIMEOUT)

    async def main() -> None:
        async with asyncio.timeout(SECONDS), running(here):
            await asyncio.to_thread(server.kill if fault == "killed" else server.pause)
            here.remember("shop", "e", decision())

    asyncio.run(main())


def test_calls_that_are_cancelled_leave_the_others_alone(
    redis_server: RunningRedis, keys: Keys
) -> None:
    """Cancellation comes at every stage of a lookup; what is shared goes on."""
    here = lookup(redis_server.url, keys.prefix)

    async def main() -> None:
        async with running(here):
            here.remember("shop", "e", decision())
            await written(here, "shop", "e")
            for turns in range(40):
                call = asyncio.create_task(here.find("shop", ["e"]))
                for _ in range(turns % 8):
                    await asyncio.sleep(0)
                call.cancel()
                assert await here.find("shop", ["e"]) == {"e": decision()}
                await asyncio.wait([call])
            assert here.connected

    asyncio.run(main())
