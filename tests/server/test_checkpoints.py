"""The journal's write-ahead log is copied beside the appends, and begins again."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from rankd.v1 import log_pb2 as pb
from server.journal import checkpoints
from server.journal.store import JournalReader, Store
from tests.server.harness import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

# Bytes: what the tests shorten the two limits to.
EVERY, MOST = 100_000, 400_000


def append(store: Store, number: int, size: int = 10_000) -> None:
    header = pb.Header(app="a", kind=pb.KIND_DECISION, event_id=f"event {number}")
    store.append([[pb.Record(header=header, payload=bytes([number % 256]) * size)]])


def log_bytes(path: Path) -> int:
    return (path.parent / f"{path.name}-wal").stat().st_size


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_EVERY", EVERY)
    monkeypatch.setattr(checkpoints, "_MOST", MOST)


@pytest.mark.usefixtures("short")
def test_the_log_begins_again_though_appends_never_pause(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with closing(Store(path)) as store:
        for number in range(2_000):
            append(store, number)
        # 30 MB went through it. What comes while a copy is on its way depends on the disk.
        assert log_bytes(path) < 8 << 20
        assert path.stat().st_size > 15 << 20
    assert sorted(os.listdir(tmp_path)) == ["j"]
    with closing(JournalReader(path)) as reader:
        assert [r.payload[0] for r in reader.records(0)] == [n % 256 for n in range(2_000)]


@pytest.mark.usefixtures("short")
def test_a_reader_that_stays_hinders_no_append(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with closing(Store(path)) as store:
        append(store, 0)
        with closing(JournalReader(path)) as reader, reader.snapshot():
            assert reader.bounds() == (1, 1)
            for number in range(1, 300):
                append(store, number)
            assert reader.bounds() == (1, 1)
        assert log_bytes(path) > 3_000_000  # all of it may still be asked for
        for number in range(300, 900):
            append(store, number)
        assert log_bytes(path) < 12 << 20  # it has been used again since


@pytest.mark.usefixtures("short")
def test_where_nothing_can_be_copied_appends_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk without room for the journal has room for its log, which was there before."""
    path = tmp_path / "j"
    failed = []

    def full(descriptor: int) -> None:
        failed.append(descriptor)
        raise OSError(28, "No space left on device")

    with closing(Store(path)) as store:
        monkeypatch.setattr(os, "fsync", full)
        for number in range(100):
            append(store, number)
    assert failed
    with closing(JournalReader(path)) as reader:
        assert reader.bounds() == (1, 100)


def test_a_store_that_is_open_keeps_others_from_ending_its_log(tmp_path: Path) -> None:
    """The last connection that is closed deletes the log; the store's must count as one, whatever its thread does."""
    path = tmp_path / "j"
    with closing(Store(path)) as store:
        for number in range(900):  # more than one copy is made of
            append(store, number)
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT count(*) FROM records").fetchone() == (900,)
        assert log_bytes(path) > 0
        append(store, 900)
    with closing(JournalReader(path)) as reader:
        assert reader.bounds() == (1, 901)


def test_retention_leaves_no_great_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that are dropped are written, too, and nobody knows how many pages they were."""
    monkeypatch.setattr(checkpoints, "_MOST", MOST)
    path = tmp_path / "j"
    with closing(Store(path)) as store:
        for number in range(1_000):
            append(store, number)
        for through in range(20, 1_001, 20):
            store.trim(through)
        assert log_bytes(path) < 3_000_000  # ten million have been dropped


FULL = """
import resource, sqlite3, sys
from pathlib import Path
from rankd.v1 import log_pb2 as pb
from server.journal.store import Store

path, size = Path(sys.argv[1]), 10_000
store = Store(path)

def append(number):
    header = pb.Header(app="a", kind=pb.KIND_DECISION, event_id=f"event {number}")
    store.append([[pb.Record(header=header, payload=bytes(size))]])

for number in range(300):
    append(number)
store.trim(250)  # there is room in the journal, then
log = path.with_name(path.name + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (log, resource.RLIM_INFINITY))
refused = 0
for number in range(300, 500):
    try:
        append(number)
    except sqlite3.Error:
        refused += 1
print(refused)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
append(500)
store.close()
"""


def test_a_log_that_cannot_grow_begins_again(tmp_path: Path) -> None:
    """Where the journal itself has room a full disk costs a few appends, not all of them."""
    command = [sys.executable, "-c", FULL, str(tmp_path / "j")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert 0 < int(done.stdout) < 100
    with closing(JournalReader(tmp_path / "j")) as reader:
        assert reader.bounds()[0] == 251
        assert len(list(reader.records(250))) == 50 + 200 - int(done.stdout) + 1
