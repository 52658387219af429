"""`open_log` knows a file by what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from simulator.logs import (
    ArraysLog,
    Columns,
    CsvLog,
    DsjsonLog,
    LogFormatError,
    ParquetLog,
    VwTextLog,
    open_log,
)
from simulator.logs.rankd_table import RankdTableLog

if TYPE_CHECKING:
    from pathlib import Path

TABLE = "action,propensity,reward\na,0.5,1\n"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.json", '{"_label_cost": 0}', DsjsonLog),
        ("a", '\ufeff\n  {"_label_cost": 0}', DsjsonLog),
        ("a.log", '[checkpoint]\n{"_label_cost": 0}', DsjsonLog),
        ("a.vw", "shared | a:1\n0:1:0.5 | b\n", VwTextLog),
        ("a.txt", "shared |user a\n| b\n", VwTextLog),
        ("a.txt", "| a\n0:1:0.5 | b\n", VwTextLog),
        ("a.dat", "0:-1:0.5 'x |item a\n", VwTextLog),
        ("a.dat", "ccb shared | a\n", VwTextLog),
        ("a.csv", TABLE, CsvLog),
        ("a.tsv.gz", TABLE, CsvLog),
    ],
)
def test_a_text_file_is_known_by_its_content(
    name: str, content: str, kind: type, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    log = open_log(tmp_path / name, reward_range=(-1.0, 2.0))
    assert type(log) is kind
    assert log.reward_range == (-1.0, 2.0)
    assert log.name == str(tmp_path / name)
    assert type(open_log(str(tmp_path / name))) is kind


def test_columns_make_any_text_a_table(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(TABLE)
    log = open_log(tmp_path / "log.txt", columns=Columns())
    assert type(log) is CsvLog
    assert len(list(log)) == 2


def test_arrays_are_known_by_name_or_file(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"context": np.ones((2, 1)), "action": [0, 1], "reward": [1, 0]}
    arrays["pscore"] = [0.5, 0.5]
    assert type(open_log(arrays)) is ArraysLog
    np.savez(tmp_path / "arrays", **arrays)
    assert len(list(open_log(tmp_path / "arrays.npz"))) == 4


def test_a_parquet_file_is_an_export_or_any_table(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(
        pa.table({"action": ["a"], "propensity": [1.0], "reward": [1.0]}), tmp_path / "p"
    )
    assert type(open_log(tmp_path / "p")) is ParquetLog
    assert len(list(open_log(tmp_path / "p"))) == 2
    with pytest.raises(LogFormatError, match="not a Parquet export of rankd"):
        RankdTableLog(tmp_path / "p")


@pytest.mark.parametrize("content", ["", "hello, world\n", "a,b\n1,2|3\n", "\x00\x01"])
def test_what_is_unknown_is_told_what_would_be_known(content: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(content)
    with pytest.raises(
        LogFormatError, match=r"log: (unknown format|the file is empty)\. Give a file of"
    ) as caught:
        open_log(tmp_path / "log")
    for word in ("JSONL", "dsjson", "--cb_adf", ".csv", ".parquet", ".npz"):
        assert word in str(caught.value)


def test_folders_and_topics_are_opened_elsewhere(tmp_path: Path) -> None:
    for source in (tmp_path, "kafka://localhost:9092/rankd.shop"):
        with pytest.raises(LogFormatError, match="are opened by the rankd command"):
            open_log(source)
    with pytest.raises(FileNotFoundError):
        open_log(tmp_path / "missing")
