"""The greatest version stays, whoever writes it and in whatever order; what is forged is refused unread and replaced."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING

import pytest

from rankd.v1 import internal_pb2
from server.fold.envelope import EnvelopeError, unseal
from server.redis.connection import connect
from server.redis.register import Register, UnreadableError, Value, Version
from server.redis.seal import sign
from tests.redis.harness import KEY, SECONDS, Keys, config, snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from tests.services.redis import RunningRedis

FIELDS = ("lease", "epoch", "published_at")
SECRET = bytes.fromhex(KEY)
OTHER = bytes(32)
LOCAL = (2, 3, 40)
HUGE = 2**63


class Counting:
    """Reads the version of a model, and counts how often anything was parsed."""

    def __init__(self) -> None:
        self.parsed = 0

    def __call__(self, data: bytes) -> Version:
        self.parsed += 1
        try:
            model = unseal(internal_pb2.Snapshot, data)
        except EnvelopeError as error:
            raise UnreadableError(str(error)) from error
        return model.lease, model.epoch, model.published_at


def value(version: Version) -> Value:
    return Value(version, snapshot(version))


def register(
    redis: Redis, keys: Keys, version_of: Callable[[bytes], Version] | None = None
) -> Register:
    """The model of app "default", looked at in full every time."""
    name = keys.name("model", "default")
    return Register(redis, SECRET, name, FIELDS, version_of or Counting(), audit=0.0)


def held(keys: Keys) -> Version:
    """The numbers in Redis, which are those in the data."""
    fields = keys.read("model", "default")
    numbers = tuple(int(fields[name]) for name in FIELDS)
    assert fields["data"] == sign(SECRET, keys.name("model", "default"), snapshot(numbers))
    assert set(fields) == {*FIELDS, "data"}
    return numbers


def run(server: RunningRedis, keys: Keys, work: Callable[[Redis], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(SECONDS), connect(config(server.url, "").redis, 10.0) as redis:
            await work(redis)

    asyncio.run(main())


# -- the greatest wins -----------------------------------------------------------------------------

VERSIONS = [(1, 1, 5), (1, 1, 30), (1, 2, 2), (2, 1, 1), (10, 1, 1)]


def test_the_greatest_stays_in_any_order_of_publications(
    redis_server: RunningRedis, keys: Keys
) -> None:
    async def work(redis: Redis) -> None:
        one = register(redis, keys)
        for order in itertools.permutations(VERSIONS):
            keys.delete("model", "default")
            for i, version in enumerate(order):
                await one.exchange(value(version))
                assert held(keys) == max(order[: i + 1]), order

    run(redis_server, keys, work)


def test_the_greatest_stays_when_many_publish_at_once(
    redis_server: RunningRedis, keys: Keys
) -> None:
    versions = [(lease, epoch, n) for lease in range(4) for epoch in (1, 2) for n in (9, 10, 100)]
    random.Random(1).shuffle(versions)

    async def work(redis: Redis) -> None:
        registers = [register(redis, keys) for _ in versions]
        pairs = zip(registers, versions, strict=True)
        await asyncio.gather(*(r.exchange(value(version)) for r, version in pairs))
        assert held(keys) == max(versions)

    run(redis_server, keys, work)


def test_a_lower_lease_never_wins_however_much_it_has_learned(
    redis_server: RunningRedis, keys: Keys
) -> None:
    async def work(redis: Redis) -> None:
        owner, zombie = register(redis, keys), register(redis, keys)
        await owner.exchange(value((7, 1, 5)))
        found = await zombie.exchange(value((6, 2, 1_000_000)))
        assert held(keys) == (7, 1, 5)
        assert found == value((7, 1, 5)), "and is told of the greater one"

    run(redis_server, keys, work)


def test_numbers_are_compared_as_numbers_up_to_2_to_the_53(
    redis_server: RunningRedis, keys: Keys
) -> None:
    async def work(redis: Redis) -> None:
        one = register(redis, keys)
        for n in (9, 10, 2**53 - 1, 2**53):
            await one.exchange(value((1, 1, n)))
            assert held(keys) == (1, 1, n)
        await one.exchange(value((1, 1, 2**53 - 1)))
        assert held(keys) == (1, 1, 2**53)

    run(redis_server, keys, work)


def test_only_what_is_greater_comes_back(redis_server: RunningRedis, keys: Keys) -> None:
    async def work(redis: Redis) -> None:
        one = register(redis, keys)
        assert await one.exchange(None) is None, "there is nothing"
        assert await one.exchange(value(LOCAL)) is None
        assert await one.exchange(value(LOCAL)) is None, "it is the same"
        assert await one.exchange(None) == value(LOCAL)
        assert await one.exchange(value((2, 3, 39))) == value(LOCAL)
        assert one.forged == 0

    run(redis_server, keys, work)


# -- forged ----------------------------------------------------------------------------------------


def forgeries(name: str) -> dict[str, dict[str, bytes | int | str]]:
    """Fields of a hash that no owner of the key has made; all claim to be greater than LOCAL, or are no numbers."""
    greater = (9, 9, 99)
    numbers = dict(zip(FIELDS, greater, strict=True))
    model = snapshot(greater)
    good = sign(SECRET, name, model)
    bad: dict[str, dict[str, bytes | int | str]] = {
        "another key": {**numbers, "data": sign(OTHER, name, model)},
        "another app's place": {**numbers, "data": sign(SECRET, name + "x", model)},
        "not signed": {**numbers, "data": model},
        "huge numbers": {**dict.fromkeys(FIELDS, HUGE), "data": good},
        "numbers of another version": {**numbers, "epoch": 10, "data": good},
        "no numbers": {**dict.fromkeys(FIELDS, "many"), "data": good},
        "not a number": {**dict.fromkeys(FIELDS, "nan"), "data": good},
        "infinite": {**dict.fromkeys(FIELDS, "inf"), "data": good},
        "hexadecimal": {**dict.fromkeys(FIELDS, "0xffffffff"), "data": good},
        "negative": {**numbers, "epoch": -1, "data": good},
        "longer than any number": {**dict.fromkeys(FIELDS, "9" * 1000), "data": good},
        "numbers alone": dict(numbers),
        "data alone": {"data": good},
        "nothing in it": {**numbers, "data": b""},
        "bytes at the end": {**numbers, "data": good + b"\0"},
    }
    for size in (1, 31, 32, 33, len(good) // 2, len(good) - 1):
        bad[f"cut to {size} bytes"] = {**numbers, "data": good[:size]}
    # The signature, and the envelope's magic, format and checksum.
    for at in range(32 + 42):
        flipped = bytearray(good)
        flipped[at] ^= 1 << (at % 8)
        bad[f"bit flipped in byte {at}"] = {**numbers, "data": bytes(flipped)}
    return bad


def test_a_forged_value_is_refused_unparsed_and_replaced(
    redis_server: RunningRedis, keys: Keys
) -> None:
    """Whatever it claims: huge numbers must not keep honest models out for ever."""
    name = keys.name("model", "default")
    signed = {"huge numbers", "numbers of another version", "no numbers", "not a number"}
    signed |= {"infinite", "hexadecimal", "negative", "longer than any number"}

    async def work(redis: Redis) -> None:
        for what, fields in forgeries(name).items():
            keys.delete("model", "default")
            keys.write("model", "default", **fields)
            parsing = Counting()
            fresh = register(redis, keys, parsing)
            assert await fresh.exchange(None) is None, what
            assert keys.read("model", "default").keys() == fields.keys(), "nothing to replace it by"
            assert await fresh.exchange(value(LOCAL)) is None, what
            assert held(keys) == LOCAL, what
            assert fresh.forged == (what != "data alone"), "without numbers it counts as absent"
            assert parsing.parsed == 0 or what in signed, what

    run(redis_server, keys, work)


def test_another_apps_model_in_this_ones_place_is_refused(
    redis_server: RunningRedis, keys: Keys
) -> None:
    async def work(redis: Redis) -> None:
        other = Register(redis, SECRET, keys.name("model", "shop"), FIELDS, Counting())
        await other.exchange(value((9, 9, 99)))
        moved: dict[str, bytes | int | str] = {**keys.read("model", "shop")}
        keys.write("model", "default", **moved)
        parsing = Counting()
        here = register(redis, keys, parsing)
        assert await here.exchange(value(LOCAL)) is None
        assert (held(keys), parsing.parsed) == (LOCAL, 0)

    run(redis_server, keys, work)


def test_a_key_of_another_type_is_replaced(redis_server: RunningRedis, keys: Keys) -> None:
    async def work(redis: Redis) -> None:
        keys.set("model", "default", value="a string")
        one = register(redis, keys)
        assert await one.exchange(None) is None
        assert await one.exchange(value(LOCAL)) is None
        assert held(keys) == LOCAL
        assert one.forged == 1

    run(redis_server, keys, work)


def test_data_that_was_replaced_alone_is_found_by_a_full_look(
    redis_server: RunningRedis, keys: Keys
) -> None:
    async def work(redis: Redis) -> None:
        name = keys.name("model", "default")
        hasty = Register(redis, SECRET, name, FIELDS, Counting(), audit=3600.0)
        await hasty.exchange(value(LOCAL))
        await hasty.exchange(value(LOCAL))  # its first full look
        keys.write("model", "default", data=b"forged")
        await hasty.exchange(value(LOCAL))
        assert keys.read("model", "default")["data"] == b"forged", "the numbers say nothing new"
        await register(redis, keys).exchange(value(LOCAL))
        assert held(keys) == LOCAL

    run(redis_server, keys, work)


def test_a_forged_value_is_counted_once(redis_server: RunningRedis, keys: Keys) -> None:
    async def work(redis: Redis) -> None:
        one = register(redis, keys)
        for forged in (b"one", b"one", b"two", b"one"):
            keys.write("model", "default", lease=9, epoch=9, published_at=9, data=forged)
            assert await one.exchange(None) is None
        assert one.forged == 2

    run(redis_server, keys, work)


class Overtaken(Register):
    """Somebody else puts an honest value in the place of the forged one, just before this one would."""

    other: Register
    theirs: Value

    async def _replace(self, local: Value | None, fingerprint: str) -> None:
        await self.other.exchange(self.theirs)
        await super()._replace(local, fingerprint)


@pytest.mark.parametrize("theirs", [(2, 3, 39), (2, 3, 41)])
def test_replacing_a_forged_value_never_replaces_an_honest_greater_one(
    redis_server: RunningRedis, keys: Keys, theirs: Version
) -> None:
    async def work(redis: Redis) -> None:
        keys.write("model", "default", lease=HUGE, epoch=1, published_at=1, data=b"forged")
        late = Overtaken(redis, SECRET, keys.name("model", "default"), FIELDS, Counting())
        late.other, late.theirs = register(redis, keys), value(theirs)
        await late.exchange(value(LOCAL))
        assert held(keys) == max(LOCAL, theirs)

    run(redis_server, keys, work)


def test_what_a_newer_rankd_has_signed_is_left_alone(
    redis_server: RunningRedis, keys: Keys
) -> None:
    """During an upgrade: the old one cannot read it, and must not take it for forged."""
    name = keys.name("model", "default")
    model = bytearray(snapshot((9, 9, 99)))
    model[9] = 2  # the envelope's format
    signed = sign(SECRET, name, bytes(model))

    async def work(redis: Redis) -> None:
        keys.write("model", "default", lease=9, epoch=9, published_at=99, data=signed)
        old = register(redis, keys)
        assert await old.exchange(value(LOCAL)) is None
        assert keys.read("model", "default")["data"] == signed
        assert old.forged == 0

    run(redis_server, keys, work)
