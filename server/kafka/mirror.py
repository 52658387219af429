"""The mirror: an app's topic, merged into one order and kept as a file, so that a learner reads it like a journal.

It can be made again from the topic, so a power cut may take its last transactions: the follower then merges them anew.
Each transaction carries the state of the merge after it, so records and state never part.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from rankd.v1 import internal_pb2
from server.fold.merge import beginning
from server.fold.records import LogError
from server.journal.store import JournalReader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from server.fold.records import LogRecord

FORMAT = 1
# Records between two states of the merge that are kept: what another learner merges again at most, a second's work.
KEEP_EVERY = 5_000
# Seconds that the follower waits for the learner, which trims in steps of some 10 ms; then it tries again from the topic.
_APPEND_SECONDS = 5.0
# Seconds that the learner waits for the follower, whose transactions take some 20 ms.
_TRIM_SECONDS = 30.0
# Bytes: several records of the usual 1 to 2 kB fit into a page.
_PAGE = 16_384

_SCHEMA = f"""
PRAGMA page_size = {_PAGE};
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE nodes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE records (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    previous INTEGER NOT NULL,
    node INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    app TEXT NOT NULL,
    event_id TEXT NOT NULL,
    origin_us INTEGER NOT NULL,
    log_time_us INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    lag_us INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX rare ON records (kind, app, sequence) WHERE kind >= 5;
CREATE TABLE merge_states (sequence INTEGER PRIMARY KEY, state BLOB NOT NULL);
"""
_INSERT = "INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"


class Mirror:
    """The writing side. One instance in one process for one file; only `trim` may be called elsewhere.

    Args:
        begin: where the merge begins in a new file; None: at the topic's beginning. An existing file goes on where it
            stands.

    Raises (all methods):
        LogError: the file is of another format.
        sqlite3.Error: nothing was changed: there is no room, say, or the file is damaged.
    """

    def __init__(self, path: Path, begin: internal_pb2.MergeState | None = None) -> None:
        if not path.exists():
            _create(path, begin or beginning())
        self._db = sqlite3.connect(path, isolation_level=None, timeout=_APPEND_SECONDS)
        self._db.execute("PRAGMA synchronous=NORMAL")
        _check_format(self._db, path)
        self._load()

    def _load(self) -> None:
        """What the file holds, which after a failed transaction is less than was asked for."""
        self._nodes = {name: n for n, name in self._db.execute("SELECT id, name FROM nodes")}
        row = self._db.execute("SELECT max(sequence) FROM merge_states").fetchone()
        self._kept = int(row[0] or 0)

    def state(self) -> internal_pb2.MergeState:
        """The merge after the last record."""
        return _state(self._db)

    def append(self, records: Sequence[LogRecord], state: internal_pb2.MergeState) -> None:
        """Appends what was merged next, and where the merge stands after it, in one transaction."""
        data = state.SerializeToString()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(_INSERT, [self._row(record) for record in records])
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'state'", (data,))
            if state.sequence - self._kept >= KEEP_EVERY:
                self._db.execute("INSERT INTO merge_states VALUES (?, ?)", (state.sequence, data))
                self._kept = state.sequence
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._load()
            raise

    def _row(self, r: LogRecord) -> tuple[object, ...]:
        node = self._nodes.get(r.node)
        if node is None:
            cursor = self._db.execute("INSERT INTO nodes (name) VALUES (?)", (r.node,))
            assert cursor.lastrowid is not None
            node = self._nodes[r.node] = cursor.lastrowid
        return (
            r.sequence,
            r.previous,
            node,
            r.kind,
            r.app,
            r.event_id,
            r.origin_us,
            r.log_time_us,
            r.key_id,
            r.subject_id,
            r.number,
            r.partition,
            r.lag_us,
            r.payload,
        )

    def close(self) -> None:
        """May be called again."""
        self._db.close()


def trim(path: Path, through: int) -> int:
    """Drops records up to and including that sequence, while the follower appends; returns how many.

    One transaction, for which the follower waits: whoever trims much goes in steps.
    """
    with closing(sqlite3.connect(path, isolation_level=None, timeout=_TRIM_SECONDS)) as db, db:
        db.execute("BEGIN IMMEDIATE")
        # The newest state at or before the cut stays: from there all that is left can be merged again.
        db.execute(
            "DELETE FROM merge_states WHERE sequence < "
            "(SELECT max(sequence) FROM merge_states WHERE sequence <= ?)",
            (through,),
        )
        return db.execute("DELETE FROM records WHERE sequence <= ?", (through,)).rowcount


class MirrorReader(JournalReader):
    """The reading side. Raises FileNotFoundError where there is no mirror yet, LogError if it is of another format."""

    columns = (
        "sequence, kind, app, event_id, origin_us, log_time_us, nodes.name, previous, payload, key_id, "
        "subject_id, number, partition, lag_us FROM records JOIN nodes ON nodes.id = records.node"
    )

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(f"no merged log at {path}")
        super().__init__(path)
        _check_format(self._db, path)

    def state(self) -> internal_pb2.MergeState:
        """The merge after the last record."""
        return _state(self._db)

    def merge_state(self, at_most: int) -> internal_pb2.MergeState:
        """The newest state kept of the merge after that many records or fewer.

        Raises:
            LogError: the mirror begins later, or was trimmed beyond.
        """
        row = self._db.execute(
            "SELECT state FROM merge_states WHERE sequence <= ? ORDER BY sequence DESC LIMIT 1",
            (at_most,),
        ).fetchone()
        if row is None:
            raise LogError(f"the merged log begins after record {at_most}")
        return internal_pb2.MergeState.FromString(row[0])


def _create(path: Path, begin: internal_pb2.MergeState) -> None:
    """Makes the file in one step: nobody ever sees one without its tables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    db = sqlite3.connect(temporary, isolation_level=None)
    try:
        db.executescript(_SCHEMA)
        state = begin.SerializeToString()
        db.executemany("INSERT INTO meta VALUES (?, ?)", [("mirror", FORMAT), ("state", state)])
        db.execute("INSERT INTO merge_states VALUES (?, ?)", (begin.sequence, state))
        # As if the records before had been here and were trimmed.
        db.execute("INSERT INTO sqlite_sequence VALUES ('records', ?)", (begin.sequence,))
        db.execute("PRAGMA journal_mode=WAL")
    finally:
        db.close()
    # What a file of that name, deleted by hand, may have left: it must not be taken for ours.
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    temporary.replace(path)


def _check_format(db: sqlite3.Connection, path: Path) -> None:
    row = db.execute("SELECT value FROM meta WHERE name = 'mirror'").fetchone()
    if row is None or row[0] != FORMAT:
        found = "no merged log" if row is None else f"a merged log of format {row[0]}"
        db.close()
        raise LogError(
            f"{path} is {found}; this rankd reads format {FORMAT}. Delete it: it is made again from Kafka"
        )


def _state(db: sqlite3.Connection) -> internal_pb2.MergeState:
    row = db.execute("SELECT value FROM meta WHERE name = 'state'").fetchone()
    return internal_pb2.MergeState.FromString(row[0])
