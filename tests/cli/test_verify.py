"""`rankd verify`: what it prints and the exit codes that scripts rely on."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from tests.cli.conftest import ROUNDS, changed, rankd

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_and_its_export_verify_alike(folder: Path, exported: Path) -> None:
    first = rankd("verify", folder)
    assert first.code == 0
    counts, state = first.out.splitlines()
    assert counts == f"verified {ROUNDS}, unverifiable 0, mismatches 0"
    app, sha256 = state.split()
    assert app == "shop"
    assert len(bytes.fromhex(sha256)) == 32
    assert rankd("verify", exported) == first
    assert rankd("verify", folder, "--app", "shop") == first


def test_a_mismatch_ends_with_1_and_is_named(exported: Path, tmp_path: Path) -> None:
    path = changed(exported, tmp_path / "changed.jsonl")
    result = rankd("verify", path)
    assert result.code == 1
    assert "mismatches 0" not in result.out
    assert "event 'event-7'" in result.err
    assert "pmf" in result.err


def test_a_log_with_a_hole_ends_with_2(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(folder, copy)
    with closing(sqlite3.connect(copy / "journal.sqlite")) as db, db:
        db.execute("DELETE FROM records WHERE sequence = 40")
    result = rankd("verify", copy)
    assert result.code == 2
    assert "record 40 is missing" in result.err
    assert result.out == ""


def test_a_journal_that_is_damaged_ends_with_2(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(folder, copy)
    for path in copy.glob("journal.sqlite-*"):
        path.unlink()
    (copy / "journal.sqlite").write_bytes(b"no database" * 1000)
    result = rankd("verify", copy)
    assert result.code == 2
    assert "cannot be read" in result.err


def test_what_is_no_log_ends_with_2(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello\n")
    for path in (tmp_path / "missing", tmp_path / "note.txt", tmp_path):
        result = rankd("verify", path)
        assert result.code == 2, path
        assert str(path) in result.err
    result = rankd("verify", folder, "--app", "news")
    assert result.code == 2
    assert "no app 'news' in this log; it has shop" in result.err


def test_an_export_that_was_cut_is_checked_as_far_as_it_goes(
    exported: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_bytes(exported.read_bytes()[:-60])
    result = rankd("verify", path)
    assert result.code == 0
    assert "was cut short" in result.err
    assert "mismatches 0" in result.out
