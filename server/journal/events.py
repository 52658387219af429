"""How the journal's index names events: by 64 bits, near each other for ids that were made at about the same time.

An index of ids that come in no order puts each new entry on another page, which is written twice: 8 of the 15 kB that a small record
costs the disk. UUIDs of version 7, which rankd makes where a client names no event, begin with the time; by that
the entries of a transaction stand on the index's last page or two.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

# Events that are looked up in one query; a power of two.
_EVENTS = 256
# An UUID of version 7 (RFC 9562, 5.7), with or without hyphens; its first 48 bits are milliseconds since 1970.
_TIMED = re.compile(
    r"[0-9a-f]{8}(?P<dash>-?)[0-9a-f]{4}(?P=dash)7[0-9a-f]{3}(?P=dash)[89ab][0-9a-f]{3}(?P=dash)[0-9a-f]{12}"
)
# Bits of a key behind the time, which is then one of 16 ms. They are hashed, as some clients count in an id's next bits or leave them empty, and
# entries with one key are searched one by one: with a million events of one moment, which is more than come, two or three have the same.
_HASHED = 20
# Keys that differ in higher bits than these are thought to stand on pages of their own; timed ones of a minute do not.
_NEAR = 32


def event_key(app: str, event_id: str, secret: bytes) -> int:
    """64 bits of (app, event_id), as SQLite's signed integer; for ids that begin with a time its bits come first.

    Args:
        secret: of the journal, at most 64 bytes, lest anybody find ids that have one key.

    >>> first, second = "0196f0d4000070008000000000000001", "0196f0d4-0100-7000-8000-000000000002"
    >>> event_key("a", first, b"") < event_key("a", second, b""), event_key("a", first, b"") == event_key("b", first, b"")
    (True, False)
    """
    found = _TIMED.fullmatch(event_id)
    if found is None:
        return hashed_key(app, event_id)
    hashed = hashed_key(app, event_id, secret)
    time = event_id[:13].replace("-", "") if found["dash"] else event_id[:12]
    bits = int(time, 16) >> 4 << _HASHED | hashed & ((1 << _HASHED) - 1)
    return bits if bits < 1 << 63 else bits - (1 << 64)


def hashed_key(app: str, event_id: str, secret: bytes = b"") -> int:
    """As `event_key`, without regard to times; without a secret, what all journals were indexed by before there were timed ids."""
    digest = blake2b(f"{app}\0{event_id}".encode(), digest_size=8, key=secret).digest()
    return int.from_bytes(digest, "little", signed=True)


def pages(keys: Iterable[int]) -> int:
    """How many of the index's pages entries with these keys are on, about."""
    return len({key >> _NEAR for key in keys})


class Events:
    """The events of a transaction's decisions, and which of them the index may have already: asked in one query for many.

    Args:
        events: (app, event_id) of each.
        secret: see `event_key`.
        hashed: whether the journal may have timed ids under their hashes.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        events: list[tuple[str, str]],
        secret: bytes,
        hashed: bool,
    ) -> None:
        self._db = db
        keys = [event_key(*event, secret) for event in events]
        before = [hashed_key(*event) for event in events] if hashed else keys
        known: set[int] = set()
        asked = sorted({*keys, *before})
        for start in range(0, len(asked), _EVENTS):
            some = asked[start : start + _EVENTS]
            # Few lengths, so that statements are compiled once: the last one is asked for several times.
            some += [some[-1]] * ((1 << (len(some) - 1).bit_length()) - len(some))
            marks = ",".join("?" * len(some))
            query = f"SELECT event FROM decisions WHERE event IN ({marks})"  # noqa: S608  # question marks
            known.update(event for (event,) in db.execute(query, some))
        self._known = known
        self._events = zip(events, keys, before, strict=True)

    def next(self) -> tuple[int, tuple[int, str, bytes] | None]:
        """The next decision's (key, what is in the journal of it: sequence, node and payload)."""
        event, key, before = next(self._events)
        found = self._find(key, *event) if key in self._known else None
        if found is None and before != key and before in self._known:
            found = self._find(before, *event)
        return key, found

    def _find(self, key: int, app: str, event_id: str) -> tuple[int, str, bytes] | None:
        rows = self._db.execute(
            "SELECT records.sequence, nodes.name, payload FROM decisions "
            "JOIN records ON records.sequence = decisions.sequence "
            "JOIN nodes ON nodes.id = records.node "
            "WHERE decisions.event = ? AND app = ? AND event_id = ?",
            (key, app, event_id),
        )
        row: tuple[int, str, bytes] | None = rows.fetchone()
        return row
