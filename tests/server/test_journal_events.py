"""The journal knows an event again, whatever its id looks like, also where an older rankd has written it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankd.ids import new_id as client_id
from rankd.v1 import log_pb2 as pb
from server.journal.events import event_key, hashed_key
from server.journal.store import Store
from server.serving.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = b"of the journal"
milliseconds = st.integers(0, 2**48 - 1)
random_bits = st.integers(0, 2**80 - 1)


def uuid7(ms: int, bits: int) -> UUID:
    """RFC 9562, 5.7."""
    number = ms << 80 | bits
    number = number & ~(0xF << 76) | 0x7 << 76  # version
    number = number & ~(0x3 << 62) | 0x2 << 62  # variant
    return UUID(int=number)


def append(store: Store, event_id: str, payload: bytes = b"x") -> bytes | None:
    """What was there before."""
    header = pb.Header(app="a", kind=pb.KIND_DECISION, event_id=event_id)
    (((stored),),) = store.append([[pb.Record(header=header, payload=payload)]])
    return stored.payload


def keys(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as db:
        return [key for (key,) in db.execute("SELECT event FROM decisions ORDER BY sequence")]


@given(milliseconds, milliseconds, random_bits, random_bits)
def test_keys_follow_the_time(first: int, second: int, a: int, b: int) -> None:
    """As far as SQLite's integers, which have a sign, let them: until the year 6429."""
    ids = [uuid7(ms % 2**47, bits).hex for ms, bits in ((first, a), (second, b))]
    before, after = (event_key("a", event_id, SECRET) for event_id in ids)
    assert all(0 <= key < 2**63 for key in (before, after))
    if first % 2**47 // 16 < second % 2**47 // 16:
        assert before < after


@given(milliseconds, random_bits)
def test_any_key_is_one_of_sqlite(ms: int, bits: int) -> None:
    event_id = uuid7(ms, bits)
    assert -(2**63) <= event_key("a", event_id.hex, SECRET) < 2**63
    assert event_key("a", str(event_id), SECRET) >> 20 == event_key("a", event_id.hex, SECRET) >> 20


@given(st.text(max_size=40))
def test_other_ids_are_known_by_their_hash(event_id: str) -> None:
    assert event_key("a", event_id, SECRET) == hashed_key("a", event_id)


@pytest.mark.parametrize(
    "event_id",
    [
        "0196f0d4-00007000-8000-000000000001",
        "0196f0d400007000800000000000001",
        "0196f0d4000070008000000000000001 ",
        "0196F0D4000070008000000000000001",
        "0196f0d4000040008000000000000001",
        "0196f0d400007000c000000000000001",
        "+196f0d4000070008000000000000001",
    ],
)
def test_what_only_looks_like_a_timed_id(event_id: str) -> None:
    assert event_key("a", event_id, SECRET) == hashed_key("a", event_id)


def test_ids_of_one_moment_do_not_share_a_key() -> None:
    """Some clients count in the bits behind the time, or leave them empty."""
    made = {event_key("a", uuid7(1_760_000_000_000, bits).hex, SECRET) for bits in range(10_000)}
    assert len(made) > 9_900


@pytest.mark.parametrize("make", [new_id, client_id], ids=["server", "client"])
def test_the_ids_that_are_made_here_are_timed(make: Callable[[], str]) -> None:
    ids = [make() for _ in range(1_000)]
    assert len(set(ids)) == 1_000
    assert all(UUID(event_id).version == 7 for event_id in ids)
    assert all(UUID(event_id).variant == "specified in RFC 4122" for event_id in ids)
    found = [event_key("a", event_id, SECRET) >> 20 for event_id in ids]
    assert found == sorted(found)
    assert found[0] != hashed_key("a", ids[0]) >> 20


def test_an_event_is_known_again(tmp_path: Path) -> None:
    ids = [uuid7(1_760_000_000_000, 7).hex, str(uuid7(1_760_000_000_000, 7)), "mine"]
    with closing(Store(tmp_path / "j")) as store:
        assert [append(store, event_id, event_id.encode()) for event_id in ids] == [None] * 3
    with closing(Store(tmp_path / "j")) as store:
        found = [append(store, event_id) for event_id in ids]
    assert found == [event_id.encode() for event_id in ids]
    stored = keys(tmp_path / "j")
    assert [key >> 20 for key in stored] == [event_key("a", e, SECRET) >> 20 for e in ids]


def older(path: Path) -> None:
    """Makes it a journal that an older rankd has written: every event under its hash, and no word of that."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        rows = db.execute("SELECT sequence, app, event_id FROM records WHERE kind = 1").fetchall()
        db.execute("DELETE FROM decisions")
        for sequence, app, event_id in rows:
            row = (hashed_key(app, event_id), sequence)
            db.execute("INSERT INTO decisions VALUES (?, ?)", row)
        assert len(rows) > 0
        ours = "'timed_incarnation', 'hashed_through', 'index_secret'"
        assert db.execute(f"DELETE FROM meta WHERE name IN ({ours})").rowcount == 3


def test_an_event_of_an_older_journal_is_known_again(tmp_path: Path) -> None:
    path = tmp_path / "j"
    before = [new_id() for _ in range(300)] + ["mine"]
    after = [new_id() for _ in range(300)]
    with closing(Store(path)) as store:
        for event_id in before:
            append(store, event_id, event_id.encode())
    older(path)
    for again in (False, True):  # the second one opens what the first has made of it
        with closing(Store(path)) as store:
            for event_id in before:
                assert append(store, event_id) == event_id.encode()
            for event_id in after:
                found = append(store, event_id, event_id.encode())
                assert found == (event_id.encode() if again else None)
    with closing(Store(path)) as store:
        assert store.last == len(before) + len(after)
        store.trim(len(before))
    with closing(Store(path)) as store:  # nothing is left that was under its hash
        assert [append(store, event_id) for event_id in after] == [e.encode() for e in after]
        assert append(store, before[0]) is None


def test_an_older_rankd_may_have_been_here_meanwhile(tmp_path: Path) -> None:
    """It counts the incarnation up, indexes by hashes, and says no word of that."""
    path = tmp_path / "j"
    first, second, third = new_id(), new_id(), new_id()
    with closing(Store(path)) as store:
        append(store, first, b"first")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'incarnation'")
        db.execute(
            "INSERT INTO records SELECT 2, 1, node, kind, app, ?, origin_us, log_time_us, key_id, subject_id, ? "
            "FROM records WHERE sequence = 1",
            (second, b"second"),
        )
        db.execute("INSERT INTO decisions VALUES (?, 2)", (hashed_key("a", second),))
    for _ in range(2):
        with closing(Store(path)) as store:
            append(store, third, b"third")
            found = [append(store, event_id) for event_id in (first, second, third)]
        assert found == [b"first", b"second", b"third"]


def test_nobody_can_find_ids_of_one_key(tmp_path: Path) -> None:
    """What they come to is each journal's own secret."""
    ids = [uuid7(1_760_000_000_000, bits).hex for bits in range(100)]
    found = []
    for name in ("one", "two"):
        with closing(Store(tmp_path / name)) as store:
            for event_id in ids:
                append(store, event_id)
        found.append(keys(tmp_path / name))
    assert sum(a == b for a, b in zip(*found, strict=True)) < 5
