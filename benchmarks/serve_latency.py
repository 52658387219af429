"""How long a commit takes on this disk, which no journalled answer can be faster than."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

# Seconds between two commits, about what they take: a disk that is never left alone is slower.
_PAUSE = 0.005


def commit_ms(folder: Path, row_bytes: int, seconds: float) -> tuple[float, float]:
    """(median, 99th percentile), milliseconds, of a commit of one row with fsync, as the journal makes it."""
    path = folder / "commits.sqlite"
    took = []
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, payload BLOB)")
        row, until = bytes(row_bytes), time.monotonic() + seconds
        while time.monotonic() < until:
            started = time.perf_counter()
            db.execute("INSERT INTO rows (payload) VALUES (?)", (row,))  # a transaction of its own
            took.append(time.perf_counter() - started)
            time.sleep(_PAUSE)
    path.unlink()
    p50, p99 = np.percentile(took, [50, 99]) * 1000
    return float(p50), float(p99)
