"""Parquet: what comes back is what was learned."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from server.exports.parquet import ParquetMissingError, write_parquet
from server.exports.rows import rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.exports.memory_log import MemoryLog

ITEM_C = {"item": {"price": 3.0, "rating": 4.5, "vector": [3.0]}}


def test_rows_read_back(log: MemoryLog, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "log.parquet"
    with path.open("wb") as file:
        count = write_parquet(log, file)
    table = pq.read_table(path).to_pylist()
    learned = list(rows(log, "shop"))
    assert len(table) == len(learned) == count
    for found, row in zip(table, learned, strict=True):
        ids = [row.decision.action_ids[k] for k in row.actions]
        assert found["event_id"] == row.record.event_id
        assert found["decision_id"] == row.record.decision_id
        assert found["time"] == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            microseconds=row.record.origin_us
        )
        assert found["app"] == "shop"
        assert found["slot"] == row.slot
        assert found["actions"] == ids
        assert found["action"] == ids[row.chosen]
        assert found["pmf"] == row.pmf
        assert found["propensity"] == row.pmf[row.chosen]
        assert found["reward"] == row.reward
        assert found["mode"] == "online"
        assert (found["epoch"], found["model_version"]) == (1, row.decision.model_version)
        assert json.loads(found["context"])["user"][0]["age"] == 31.0
        features = dict(zip(ids, map(json.loads, found["action_features"]), strict=True))
        assert features.get("c", ITEM_C) == ITEM_C
    assert {row["slot"] for row in table} == {"", "top", "side"}


def test_several_apps_are_told_apart(two_apps: MemoryLog) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    count = write_parquet(two_apps, out)
    apps = pq.read_table(io.BytesIO(out.getvalue()))["app"].to_pylist()
    assert len(apps) == count
    assert set(apps) == {"news", "shop"}
    assert apps == sorted(apps)


def test_without_pyarrow_the_message_says_what_to_install(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        sys.modules, "pyarrow", None
    )  # what an import meets where it is not installed
    with pytest.raises(ParquetMissingError, match=r"pip install 'rankd\[parquet\]'"):
        write_parquet(log, io.BytesIO())
