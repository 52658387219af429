"""The mirror: records and the state of the merge never part, whatever ends or fills up."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.merge import DeadLetter, Merger, beginning
from server.fold.records import LogError, LogRecord
from server.journal.store import Store
from server.kafka.mirror import KEEP_EVERY, Mirror, MirrorReader, trim
from tests.server.topics import APP, MS, Topic, folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def a_topic(records: int = 600, payload: bytes = b"x" * 100) -> Topic:
    """Two journals by turns, with epochs now and then."""
    topic = Topic()
    for number in range(1, records // 2 + 1):
        for letter in "ab":
            topic.now_us += MS
            kind = pb.KIND_EPOCH if number % 50 == 0 else pb.KIND_REWARD
            node = f"{folder(letter)}.{1 + number // 100}"
            topic.send(number, kind, node=node, event_id=f"e{number}", payload=payload)
    return topic


def merge_into(path: Path, topic: Topic, size: int, most: int | None = None) -> list[LogRecord]:
    """Goes on from where the mirror stands, in batches; returns what was appended."""
    with closing(Mirror(path)) as mirror:
        merger = Merger(APP, mirror.state())
        for message in topic.partitions[0][merger.offsets[0] :]:
            merger.feed(message)
        appended: list[LogRecord] = []
        while most is None or len(appended) < most:
            batch = [i for i in islice(merger.emit(), size) if not isinstance(i, DeadLetter)]
            mirror.append(batch, merger.state())
            appended += batch
            if not batch:
                break
        return appended


def made_by(topic: Topic, tmp_path: Path) -> tuple[Path, list[LogRecord]]:
    path = tmp_path / "apps" / "shop" / "merged.sqlite"
    return path, merge_into(path, topic, 100)


def test_it_reads_like_a_journal(tmp_path: Path) -> None:
    path, records = made_by(a_topic(), tmp_path)
    with closing(MirrorReader(path)) as reader:
        assert reader.bounds() == (1, 600)
        assert list(reader.records(0)) == records
        assert list(reader.records(17, 30)) == records[17:30]
        assert reader.read(300) == records[299]
        assert reader.read(300).number == 150
        epochs = [r for r in records if r.kind == pb.KIND_EPOCH]
        assert list(reader.records(0, None, pb.KIND_EPOCH)) == epochs
        assert reader.oldest(pb.KIND_EPOCH, APP) == epochs[0]
        assert reader.apps() == [APP]
        assert reader.first_at_or_after(records[99].log_time_us) == 100
        assert 600 * 100 < reader.size_bytes() < 600 * 1_000
        assert reader.changed()
        assert not reader.changed()
        with closing(Mirror(path)) as mirror:
            state = mirror.state()
            state.offsets[0] += 1  # past something that was no record
            mirror.append([], state)
        assert reader.changed()


def test_there_is_none_yet(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MirrorReader(tmp_path / "merged.sqlite")


def test_an_empty_one_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "merged.sqlite"
    with closing(Mirror(path)) as mirror, closing(MirrorReader(path)) as reader:
        assert mirror.state() == beginning()
        assert reader.bounds() == (1, 0)
        assert list(reader.records(0)) == []
        assert reader.merge_state(0) == beginning()


def test_states_are_kept_to_begin_from(tmp_path: Path) -> None:
    """Merging from a state that was kept makes the same records with the same numbers, in a mirror elsewhere."""
    topic = a_topic(3 * KEEP_EVERY, payload=b"")
    path, records = made_by(topic, tmp_path)
    with closing(MirrorReader(path)) as reader:
        assert reader.state().sequence == 3 * KEEP_EVERY
        for wanted in (KEEP_EVERY, KEEP_EVERY + 1, 2 * KEEP_EVERY - 1):
            assert reader.merge_state(wanted).sequence == KEEP_EVERY
        begin = reader.merge_state(2 * KEEP_EVERY + 7)
        assert reader.merge_state(KEEP_EVERY - 1) == beginning()
    other = tmp_path / "other.sqlite"
    with closing(Mirror(other, begin)), closing(MirrorReader(other)) as reader:
        assert reader.bounds() == (2 * KEEP_EVERY + 1, 2 * KEEP_EVERY)
        with pytest.raises(LogError, match="begins after record 7"):
            reader.merge_state(7)
    assert merge_into(other, topic, 500) == records[2 * KEEP_EVERY :]
    with closing(MirrorReader(other)) as reader:
        assert reader.bounds() == (2 * KEEP_EVERY + 1, 3 * KEEP_EVERY)
        with pytest.raises(LogError, match="starts at record 10001"):
            next(reader.records(0))
    with closing(Mirror(other)) as mirror:
        assert mirror.state().sequence == 3 * KEEP_EVERY, "an existing file goes on where it stands"


def test_trimming_keeps_what_the_rest_is_merged_from(tmp_path: Path) -> None:
    path, _ = made_by(a_topic(3 * KEEP_EVERY, payload=b""), tmp_path)
    with closing(MirrorReader(path)) as reader:
        assert trim(path, 2 * KEEP_EVERY + 5) == 2 * KEEP_EVERY + 5
        assert reader.bounds() == (2 * KEEP_EVERY + 6, 3 * KEEP_EVERY)
        assert reader.merge_state(2 * KEEP_EVERY + 5).sequence == 2 * KEEP_EVERY
        with pytest.raises(LogError):
            reader.merge_state(2 * KEEP_EVERY - 1)
        assert trim(path, 3 * KEEP_EVERY) == KEEP_EVERY - 5
        assert reader.bounds() == (3 * KEEP_EVERY + 1, 3 * KEEP_EVERY)
        assert reader.state().sequence == 3 * KEEP_EVERY


def test_one_appends_while_another_trims_and_a_third_reads(tmp_path: Path) -> None:
    topic = a_topic(6_000)
    path = tmp_path / "merged.sqlite"
    Mirror(path).close()
    done = threading.Event()

    def append() -> None:
        merge_into(path, topic, 20)
        done.set()

    appending = threading.Thread(target=append)
    appending.start()
    read = 0
    with closing(MirrorReader(path)) as reader:
        while not (done.is_set() and read == 6_000):
            for record in reader.records(read):
                read += 1
                assert record.sequence == read
            trim(path, read)
    appending.join()


_APPEND_FOR_EVER = """
import sys
from pathlib import Path
from tests.kafka.test_mirror import a_topic, merge_into
topic = a_topic(40_000)
print("ready", flush=True)
merge_into(Path(sys.argv[1]), topic, 50)
print("done", flush=True)
"""


def test_a_kill_between_or_within_transactions_loses_nothing_that_was_appended(
    tmp_path: Path,
) -> None:
    path = tmp_path / "merged.sqlite"
    Mirror(path).close()
    topic = a_topic(40_000)
    seen = 0
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", _APPEND_FOR_EVER, str(path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            with closing(MirrorReader(path)) as reader:
                while reader.bounds()[1] < seen + 1_000:
                    assert process.poll() is None
                seen = reader.bounds()[1]
            process.send_signal(signal.SIGKILL)
        with closing(MirrorReader(path)) as reader:
            state = reader.state()
            assert state.sequence == reader.bounds()[1] >= seen
            assert list(state.offsets) == [state.sequence]
    merge_into(path, topic, 500)
    _, expected = made_by(topic, tmp_path)
    with closing(MirrorReader(path)) as reader:
        assert list(reader.records(0)) == expected


def test_a_full_disk_changes_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "merged.sqlite"
    merger = Merger(APP)
    for message in a_topic(400, payload=os.urandom(2_000)).partitions[0]:
        merger.feed(message)
    batches: list[tuple[Sequence[LogRecord], internal_pb2.MergeState]] = []
    for _ in range(4):
        records = [i for i in islice(merger.emit(), 100) if isinstance(i, LogRecord)]
        batches.append((records, merger.state()))
    with closing(Mirror(path)) as mirror, closing(MirrorReader(path)) as reader:
        mirror.append(*batches[0])
        pages = mirror._db.execute("PRAGMA page_count").fetchone()[0]
        mirror._db.execute(f"PRAGMA max_page_count = {pages + 5}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            mirror.append(*batches[1])
        assert mirror.state() == batches[0][1]
        assert reader.bounds() == (1, 100)
        mirror._db.execute("PRAGMA max_page_count = 1000000")
        for batch in batches[1:]:
            mirror.append(*batch)
        assert [r.number for r in reader.records(0)] == [n for n in range(1, 201) for _ in "ab"]
        assert {r.node for r in reader.records(0)} == {
            f"{folder(x)}.{n}" for x in "ab" for n in (1, 2, 3)
        }


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Store(path).close()
    for opened in (Mirror, MirrorReader):
        with pytest.raises(LogError, match="Delete it"):
            opened(path)
    path.write_bytes(b"something else, and long enough to be looked at " * 100)
    for opened in (Mirror, MirrorReader):
        with pytest.raises(sqlite3.DatabaseError):
            opened(path)
