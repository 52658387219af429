"""One value in Redis that only ever rises, whoever writes it: a hash of its version's numbers and the signed data.

The numbers in the hash are for the script's comparison alone. What is believed is the version inside the signed data, and
a hash whose numbers say otherwise counts as forged.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import structlog
from redis.exceptions import ResponseError

from server.redis.seal import ForgedError, checked, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

log = structlog.get_logger("redis")

Version = tuple[int, ...]

# Compare-and-set. Lua's numbers are doubles, exact up to 2^53: leases, epochs and record counts stay far below (a million
# records a second would take 285 years). What is no number counts as lower, and a key of another type as absent.
# ARGV: data, the SHA-1 of a held value that is forged and so may be replaced whatever its numbers say (or ""),
# the channel on which to tell (or ""), what to tell, then name and value of each number, the weightiest first.
_RAISE = """
local key, data, forged, channel, news = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local names, fields = {}, {'data', data}
for i = 5, #ARGV, 2 do
    names[#names + 1] = ARGV[i]
    fields[#fields + 1], fields[#fields + 2] = ARGV[i], ARGV[i + 1]
end
local kind = redis.call('TYPE', key).ok
if kind == 'hash' then
    names[#names + 1] = 'data'
    local held = redis.call('HMGET', key, unpack(names))
    for i = 1, #names do held[i] = held[i] or '' end
    if forged == '' or redis.sha1hex(table.concat(held, ' ')) ~= forged then
        local greater = false
        for i = 1, #names - 1 do
            local theirs, ours = tonumber(held[i]), tonumber(ARGV[4 + 2 * i])
            if theirs == nil or ours > theirs then greater = true break end
            if ours < theirs then break end
        end
        if not greater then return 0 end
    end
end
redis.call('DEL', key)
redis.call('HSET', key, unpack(fields))
if channel ~= '' then redis.call('PUBLISH', channel, news) end
return 1
"""
# Seconds between two replacements of forged values. Two servers with different keys take each other's values for
# forged: without a pause they would replace them as fast as they can, for ever.
_REPLACE_SECONDS = 1.0
# Seconds between two full looks at a value whose numbers say nothing new. Only those find data that was replaced alone.
AUDIT_SECONDS = 30.0
# Forged values that are known, so that each is told once.
_TOLD = 64


@dataclass(frozen=True, slots=True)
class Value:
    """Data and the version in it: numbers, compared from the left."""

    version: Version
    data: bytes


class UnreadableError(Exception):
    """The value is signed, but this rankd cannot read it: a newer one wrote it. It is left alone."""


class Register:
    """One value in Redis.

    Args:
        name: of the hash, and the purpose that the data is signed for.
        fields: names of the version's numbers.
        version_of: the version in the data; raises UnreadableError.
        channel: where to tell of a new value, if anywhere.
        news: what to tell.
        audit: seconds between two full looks.
    """

    def __init__(
        self,
        redis: Redis,
        key: bytes,
        name: str,
        fields: Sequence[str],
        version_of: Callable[[bytes], Version],
        channel: str = "",
        news: str = "",
        audit: float = AUDIT_SECONDS,
    ) -> None:
        self._redis = redis
        self._key = key
        self._name = name
        self._fields = list(fields)
        self._version_of = version_of
        self._channel = channel
        self._news = news
        self._audit = audit
        self._raise = redis.register_script(_RAISE)
        self._audited = -audit
        self._replaced = -_REPLACE_SECONDS
        self._told: deque[str] = deque(maxlen=_TOLD)
        self.forged = 0  # different forged values found

    async def exchange(self, local: Value | None) -> Value | None:
        """Leaves the greater of two in Redis: the local value or what is there.

        Returns:
            What is there, where it is genuine and greater.

        Raises:
            RedisError, OSError: Redis did not do its part.
        """
        held = await self._hmget(self._fields)
        if held is not None and not any(held):
            await self._offer(local)
            return None
        claimed = None if held is None else _version(held)
        if local is not None and claimed is not None:
            if claimed < local.version:
                await self._offer(local)
                return None
            if claimed == local.version and time.monotonic() - self._audited < self._audit:
                return None
        return await self._take(local)

    async def _take(self, local: Value | None) -> Value | None:
        """What is there, if it is greater; a forged value is replaced."""
        held = await self._hmget([*self._fields, "data"])
        self._audited = time.monotonic()
        if held is not None and not any(held):
            return None
        fingerprint = "" if held is None else _fingerprint(held)
        try:
            found = await asyncio.to_thread(self._open, held)
        except ForgedError as error:
            self._tell(fingerprint, "refused a forged or damaged value in Redis", error)
            await self._replace(local, fingerprint)
            return None
        except UnreadableError as error:
            self._tell(
                fingerprint, "left alone a value in Redis that this rankd cannot read", error
            )
            return None
        return found if local is None or found.version > local.version else None

    def _open(self, held: list[bytes | None] | None) -> Value:
        if held is None:
            raise ForgedError(f"{self._name}: not a hash")
        *numbers, signed = held
        data = checked(self._key, self._name, signed or b"")
        version = self._version_of(data)
        if version != _version(numbers):
            raise ForgedError(f"{self._name}: its numbers are not those of the value in it")
        return Value(version, data)

    def _tell(self, fingerprint: str, what: str, error: Exception) -> None:
        if fingerprint in self._told:
            return
        self._told.append(fingerprint)
        self.forged += isinstance(error, ForgedError)
        log.error(what, key=self._name, error=str(error))

    async def _replace(self, local: Value | None, fingerprint: str) -> None:
        if local is not None and time.monotonic() - self._replaced >= _REPLACE_SECONDS:
            self._replaced = time.monotonic()
            await self._offer(local, fingerprint)

    async def _offer(self, local: Value | None, forged: str = "") -> None:
        if local is None:
            return
        signed = await asyncio.to_thread(sign, self._key, self._name, local.data)
        numbers = [x for pair in zip(self._fields, local.version, strict=True) for x in pair]
        await self._raise(
            keys=[self._name], args=[signed, forged, self._channel, self._news, *numbers]
        )

    async def _hmget(self, fields: list[str]) -> list[bytes | None] | None:
        """The fields, or None where the key holds something else than a hash."""
        try:
            held = await self._redis.hmget(self._name, fields)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return None
        return cast("list[bytes | None]", held)  # the client decodes nothing


def _version(numbers: list[bytes | None]) -> Version | None:
    """The numbers, or None where one is none."""
    if not all(n is not None and n.isdigit() and len(n) <= 20 for n in numbers):
        return None
    return tuple(int(n or 0) for n in numbers)


def _fingerprint(held: list[bytes | None]) -> str:
    """As the script makes it; tells one value from another, and guards nothing."""
    return hashlib.sha1(b" ".join(x or b"" for x in held), usedforsecurity=False).hexdigest()
