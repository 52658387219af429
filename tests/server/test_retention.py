"""What may be trimmed, and what a trimmed log still tells."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from rankd.v1 import decisions_pb2 as api
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.records import LogError
from server.fold.verify import verify_app
from server.journal.store import JournalReader, LogTime, Store
from server.learning.checkpoints import Checkpoints
from server.learning.retention import beginning, trim_to
from server.learning.source import FolderSource
from tests.server.harness import CALL, Service
from tests.server.scribe import APP, SECOND, Scribe

if TYPE_CHECKING:
    from pathlib import Path

    from server.files import DataFolder

LONG, MUCH = 10**15, 10**15  # microseconds, bytes


@pytest.fixture
def reader(tmp_path: Path) -> JournalReader:
    """100 records, 1 kB each."""
    with closing(Store(tmp_path / "j")) as store:
        header = pb.Header(app=APP, kind=pb.KIND_REWARD)
        store.append([[pb.Record(header=header, payload=bytes(1_000))] * 100])
    return JournalReader(tmp_path / "j")


def kept(folder: Path, **versions: int) -> Checkpoints:
    """Checkpoints v10=5: of version 10, which still needs record 5."""
    checkpoints = Checkpoints(folder, keep=9)
    for name, oldest in versions.items():
        checkpoints.save(
            internal_pb2.Checkpoint(app=APP, version=int(name[1:]), oldest_needed=oldest)
        )
    return checkpoints


def test_nothing_goes_while_all_is_young_and_small(reader: JournalReader, tmp_path: Path) -> None:
    with closing(reader):
        assert trim_to(reader, [kept(tmp_path / "c", v90=91)], LONG, MUCH) is None


def test_nothing_goes_without_a_checkpoint(reader: JournalReader, tmp_path: Path) -> None:
    with closing(reader):
        both = [kept(tmp_path / "a", v40=41), kept(tmp_path / "b")]
        assert trim_to(reader, both[:1], LONG, 10_000) == 40
        assert trim_to(reader, both, LONG, 10_000) is None


def test_the_log_shrinks_to_its_bound_but_keeps_what_checkpoints_need(
    reader: JournalReader, tmp_path: Path
) -> None:
    """Half of the bytes are half of the records, less the file's own pages."""
    with closing(reader):
        half = reader.size_bytes() // 2
        free = trim_to(reader, [kept(tmp_path / "a", v20=21, v40=41, v80=81)], LONG, half)
        assert free == 40, "up to the newest checkpoint before the middle"
        held = trim_to(reader, [kept(tmp_path / "b", v40=7)], LONG, half)
        assert held == 6, "a decision that waits for its reward is still to be read"
        least = [kept(tmp_path / "c", v40=41), kept(tmp_path / "d", v30=31)]
        assert trim_to(reader, least, LONG, half) == 30


def test_a_damaged_checkpoint_is_not_relied_on(reader: JournalReader, tmp_path: Path) -> None:
    checkpoints = kept(tmp_path / "c", v20=21, v40=41)
    (tmp_path / "c" / f"{40:020}.ckpt").write_bytes(b"damaged")
    with closing(reader):
        assert trim_to(reader, [checkpoints], LONG, reader.size_bytes() // 2) == 20


def test_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1_000 * SECOND, SECOND))
    monkeypatch.setattr("time.time_ns", lambda: next(clock) * 1_000)
    with closing(Store(tmp_path / "j")) as store:
        for _ in range(100):
            store.append([[pb.Record(header=pb.Header(kind=pb.KIND_TICK))]])
    with closing(JournalReader(tmp_path / "j")) as reader:
        checkpoints = kept(tmp_path / "c", v10=11, v60=61, v90=91)
        assert trim_to(reader, [checkpoints], 30 * SECOND, MUCH) == 60
        assert trim_to(reader, [checkpoints], 99 * SECOND, MUCH) is None


def written(folder: DataFolder, scribe: Scribe) -> None:
    """The scribe's log as a journal, with its folder, its stamps and its checkpoints."""
    folder.journal.parent.mkdir(parents=True, exist_ok=True)
    Store(folder.journal).close()
    with closing(sqlite3.connect(folder.journal)) as db, db:
        db.execute("UPDATE meta SET value = ? WHERE name = 'folder'", (scribe.log[0].folder,))
    stamps = iter([0, *(record.log_time_us for record in scribe.log)])
    log_time = LogTime(lambda: next(stamps) * 1_000, lambda: 0)
    with closing(Store(folder.journal, log_time=log_time)) as store:
        for record in scribe.log:
            store.append([[record.to_proto()]])
    for checkpoint in scribe.kept.values():
        Checkpoints(folder.checkpoints(APP), keep=999).save(checkpoint)


def test_a_trimmed_log_is_verified_from_its_base(tmp_path: Path) -> None:
    """Decisions of models from before the base are out of reach, and said to be; nothing is called wrong."""
    folder = Service(tmp_path / "data").folder
    scribe = Scribe()
    scribe.busy(150)
    written(folder, scribe)
    through = scribe.kept[200].oldest_needed - 1
    with closing(Store(folder.journal)) as store:
        store.trim(through)
    with closing(FolderSource(folder)) as source:
        base = source.base(APP)
        assert base is not None
        assert through < base.oldest_needed <= base.version + 1
        found = verify_app(source, APP)
    whole = verify_app(scribe, APP)
    later = sum(r.kind == pb.KIND_DECISION for r in scribe.records(base.version))
    assert found.mismatches == 0, found.first_mismatch
    assert found.verified + found.unverifiable == later
    assert found.verified > 10
    assert found.states == whole.states


def test_a_log_trimmed_too_far_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Service(tmp_path / "data").folder
    scribe = Scribe()
    scribe.busy(50)
    written(folder, scribe)
    with closing(Store(folder.journal)) as store:
        store.trim(len(scribe.log) - 1)
    with (
        closing(FolderSource(folder)) as source,
        pytest.raises(LogError, match="no checkpoint reaches back"),
    ):
        source.base(APP)


def test_an_app_may_begin_in_a_trimmed_log(tmp_path: Path) -> None:
    """One that is configured after years has no checkpoint, and misses nothing."""
    first = {"apps": {"old": {}}, "learner": {"checkpoint_every": 10}}
    both = {**first, "apps": {"old": {}, "new": {}}}
    with Service(tmp_path / "data", first) as service:
        for i in range(50):
            service.decisions.Rank(rank("old", i), timeout=CALL)
        service.wait_folded(50)
        service.stop()
        checkpoints = Checkpoints(service.folder.checkpoints("old"))
        with closing(Store(service.folder.journal)) as store:
            # What waits for its window is still needed, so that nothing but the epoch may go.
            store.trim(checkpoints.load(checkpoints.versions()[0]).oldest_needed - 1)
        with closing(JournalReader(service.folder.journal)) as reader:
            assert reader.bounds()[0] > 1
            assert beginning(reader, "old", checkpoints) is None
        service.start(both)
        for i in range(50, 100):
            for app in ("old", "new"):
                service.decisions.Rank(rank(app, i), timeout=CALL)
        service.kill_all()
        service.start()
        found = service.verify()
        assert found.mismatches == 0, found.first_mismatch
        assert found.verified >= 50, "all of the new one's"
        assert set(found.states) == {"old", "new"}
        service.stop()
        export = tmp_path / "export.jsonl"
        rankd("log", "export", str(tmp_path / "data"), "-o", str(export))
        assert "mismatches 0" in rankd("verify", str(export))
        assert "FAIL" not in rankd("validate", str(tmp_path / "data"))


def rank(app: str, event: int) -> api.RankRequest:
    return api.RankRequest(app=app, event_id=f"event {event}", action_ids=["a", "b"])


def rankd(*arguments: str) -> str:
    """What a command prints; it succeeds."""
    command = [sys.executable, "-m", "rankd", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
