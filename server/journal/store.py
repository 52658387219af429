"""The journal's file: SQLite in WAL mode, one writer, any number of readers.

fsync before every commit returns (synchronous=FULL), so what was acknowledged survives a power cut. One writer only:
two that share a file starve each other.
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.records import LogError, LogRecord
from server.journal.checkpoints import Checkpoints
from server.journal.events import Events, pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

FORMAT = 1
# Rows, and bytes of payload, read in one query, whichever is reached first: at 2 kB a row, 1 MB in memory. A record has
# some 4 MB at most, so one chunk never holds more than 8 MB.
_READ_CHUNK = 512
_READ_BYTES = 4 << 20

# How long the writer waits for another program's lock on the file: all calls wait with it, for less than a call may take.
_LOCK_SECONDS = 1.0

# Of the table `records`.
_Row = tuple[int, int, int | None, int, str, str, int, int, str, str, bytes]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nodes (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (
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
    payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS decisions (
    event INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (event, sequence)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rare ON records (kind, app, sequence) WHERE kind >= 5;
"""


class LogTime:
    """The journal's stamps: the wall clock, as long as that moves forward.

    Where it is set back, stamps do not stand still until it has caught up: they run on with the time that really
    passes, since windows close by them.

    Args:
        wall_ns: nanoseconds since 1970.
        monotonic_ns: nanoseconds since whenever, never set.

    >>> wall, running = iter([5_000, 2_000, 3_000]), iter([100, 1_100, 2_100])
    >>> clock = LogTime(lambda: next(wall) * 1_000_000, lambda: next(running) * 1_000_000)
    >>> [clock.now_us() for _ in range(3)]  # set back by four seconds after the first
    [5000000, 6000000, 7000000]
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = lambda: time.time_ns(),
        monotonic_ns: Callable[[], int] = lambda: time.monotonic_ns(),
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._ahead_ns: int | None = (
            None  # how far the stamps are ahead of the running time; never falls
        )

    def now_us(self) -> int:
        # In this order: being interrupted between the two must not let the stamps gain on the wall clock.
        wall = self._wall_ns()
        running = self._monotonic_ns()
        ahead = wall - running
        self._ahead_ns = ahead if self._ahead_ns is None else max(self._ahead_ns, ahead)
        return (running + self._ahead_ns) // 1_000

    def seen(self, stamp_us: int) -> None:
        """A record with that stamp is there already: later ones are stamped no earlier."""
        ahead = stamp_us * 1_000 - self._monotonic_ns()
        self._ahead_ns = ahead if self._ahead_ns is None else max(self._ahead_ns, ahead)


class Stored(NamedTuple):
    """Where an appended record stands; `payload` only if its event's Decision was there before."""

    sequence: int
    node: str
    payload: bytes | None = None


class Store:
    """The writing side. One instance in one process for one file.

    Args:
        shared: whether the journal is copied to Kafka: then nothing is trimmed before it has been.
        log_time: gives the stamps.
    """

    def __init__(self, path: Path, shared: bool = False, log_time: LogTime | None = None) -> None:
        self._path = path
        self._shared = shared
        self._log_time = log_time or LogTime()
        self._checkpoints = Checkpoints(path)
        self._open()
        self._db.executescript(_SCHEMA)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._check_format()
            self._secret = self._index_secret()
            hashed_through = self._hashed_through()
            folder = self._meta("folder") or str(uuid.uuid4())
            # At least the time of day: a journal that is restored from a backup begins at an old incarnation, and must
            # not count up through those that it has had since.
            seconds = self._log_time.now_us() // 1_000_000
            incarnation = max(int(self._meta("incarnation") or 0) + 1, seconds)
            self.node = f"{folder}.{incarnation}"
            self._set("folder", folder)
            self._set("incarnation", incarnation)
            self._set("timed_incarnation", incarnation)
            cursor = self._db.execute("INSERT INTO nodes (name) VALUES (?)", (self.node,))
            self._node_id = cursor.lastrowid
            self.folder = folder
            first = self._db.execute("SELECT min(sequence) FROM records").fetchone()[0]
            self._hashed = first is not None and int(first) <= hashed_through
        self._shipped = _shipped(self._db)
        self._shipped_kept = True  # whether the file has it, too
        self._position()

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None, timeout=_LOCK_SECONDS)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA wal_autocheckpoint=0")

    def _position(self) -> None:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name='records'").fetchone()
        self.last = int(row[0]) if row else 0
        row = self._db.execute(
            "SELECT log_time_us FROM records ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        if row:
            self._log_time.seen(int(row[0]))

    def _meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name=?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _check_format(self) -> None:
        found = self._meta("format")
        if found is None:
            self._set("format", FORMAT)
        elif int(found) != FORMAT:
            raise LogError(f"{self._path} has format {found}; this rankd reads format {FORMAT}")

    def _hashed_through(self) -> int:
        """Sequence of the last record that an older rankd may have written, which indexed all events by nothing but their hashes."""
        before = self._meta("timed_incarnation")
        if before is None or before != self._meta("incarnation"):
            last = self._db.execute("SELECT max(sequence) FROM records").fetchone()[0] or 0
            self._set("hashed_through", int(last))
        return int(self._meta("hashed_through") or 0)

    def _index_secret(self) -> bytes:
        found = self._meta("index_secret")
        if found is None:
            found = os.urandom(16).hex()
            self._set("index_secret", found)
        return bytes.fromhex(found)

    def _set(self, name: str, value: object) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def append(self, groups: Sequence[Sequence[pb.Record]]) -> list[list[Stored]]:
        """Appends groups of records in one durable transaction.

        A Decision whose (app, event_id) is in the log already is not appended; its Stored carries the old payload.

        Raises:
            sqlite3.Error: nothing was appended (most likely there is no room). The store stays usable.
        """
        if not any(groups):
            return [[] for _ in groups]
        try:
            # In one transaction with the look-up: beginning to read takes as many locks as beginning to write.
            self._db.execute("BEGIN IMMEDIATE")
            rows, index, stored = self._placed(groups)
            if rows:
                self._db.executemany("INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows)
                self._db.executemany("INSERT INTO decisions VALUES (?,?)", index)
                self._keep_shipped()
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self._reopen()
            raise
        if rows:
            self._shipped_kept = True
            self.last += len(rows)
            self._checkpoints.wrote(
                sum(len(row[-1]) for row in rows), pages(key for key, _ in index)
            )
        return stored

    def _placed(
        self, groups: Sequence[Sequence[pb.Record]]
    ) -> tuple[list[_Row], list[tuple[int, int]], list[list[Stored]]]:
        """(rows of the records to be appended, rows of their decisions' index, where each of the groups' records stands)."""
        now, node, node_id = self._log_time.now_us(), self.node, self._node_id
        last = self.last
        rows: list[_Row] = []
        index: list[tuple[int, int]] = []
        fresh: dict[tuple[str, str], tuple[int, str, bytes]] = {}
        stored: list[list[Stored]] = []
        entries = [[_entry(record) for record in group] for group in groups]
        asked = [(e[1], e[2]) for group in entries for e in group if e[0] == pb.KIND_DECISION]
        events = Events(self._db, asked, self._secret, self._hashed)
        for group in entries:
            places = []
            for kind, app, event_id, origin, key_id, subject_id, payload in group:
                if kind == pb.KIND_DECISION:
                    key, before = events.next()
                    before = before or fresh.get((app, event_id))
                    if before is not None:
                        places.append(Stored(*before))
                        continue
                    index.append((key, last + 1))
                    fresh[app, event_id] = last + 1, node, payload
                last += 1
                places.append(Stored(last, node))
                rows.append((last, last - 1, node_id, kind, app, event_id, origin, now, key_id, subject_id, payload))  # fmt: skip
            stored.append(places)
        return rows, index, stored

    def _reopen(self) -> None:
        """After a failed commit only a fresh connection tells for sure what the file holds."""
        self._db.close()
        self._checkpoints.failed()
        self._open()
        self._position()

    @property
    def shipped(self) -> internal_pb2.Shipped:
        """How far the journal has been copied to Kafka, as was reported last."""
        return self._shipped

    def ship(self, shipped: internal_pb2.Shipped) -> None:
        """Takes note of how far the journal has been copied. An older position than the known one says nothing new.

        It is written with the next transaction, without an fsync of its own: after a crash some records are sent
        again, and dropped by whoever reads them.
        """
        if shipped.sequence > self._shipped.sequence:
            self._shipped = shipped
            self._shipped_kept = False

    def _keep_shipped(self) -> None:
        if not self._shipped_kept:
            self._set("shipped", self._shipped.SerializeToString())

    def trim(self, through: int) -> int:
        """Drops records up to and including that sequence; returns how many. Sequences are never used again.

        Records that have not been copied to Kafka stay, where the journal is or was shared.

        One transaction, for which appends wait: whoever trims much goes in steps, as the learner does.
        """
        if self._shared or self._shipped.sequence:
            through = min(through, self._shipped.sequence)
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                # What is gone must never be asked for again: the position goes into the same transaction.
                self._keep_shipped()
                self._db.execute("DELETE FROM decisions WHERE sequence <= ?", (through,))
                rows = self._db.execute("DELETE FROM records WHERE sequence <= ?", (through,))
                gone = rows.rowcount
        except sqlite3.Error:
            self._reopen()
            raise
        self._shipped_kept = True
        self._checkpoints.wrote_much()
        return gone

    def close(self) -> None:
        """Closes the file. May be called again."""
        self._checkpoints.stop()
        self._db.close()
        self._checkpoints.close()


def _entry(record: pb.Record) -> tuple[int, str, str, int, str, str, bytes]:
    """What the file keeps of a record that is to be appended. Read once: each reading makes new objects."""
    h = record.header
    return h.kind, h.app, h.event_id, h.origin_time_us, h.key_id, h.subject_id, record.payload


class JournalReader:
    """The reading side: any process, any number. Raises FileNotFoundError where there is no journal yet."""

    # In the order of LogRecord's fields, all of them.
    columns = (
        "sequence, kind, app, event_id, origin_us, log_time_us, nodes.name, previous, payload, key_id, "
        "subject_id, 0, 0, 0 FROM records JOIN nodes ON nodes.id = records.node"
    )

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(f"no journal at {path}")
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
        self._version = -1
        self._one = f"SELECT {self.columns} WHERE sequence = ?"  # one object, hashed once

    def changed(self) -> bool:
        """Whether anything was committed since this was last asked."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return False
        self._version = version
        return True

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is of one moment, and costs less. For a fraction of a second: the file cannot shrink meanwhile."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    def bounds(self) -> tuple[int, int]:
        """(sequence of the first record, of the last one ever written); first is last + 1 where nothing is kept."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name='records'").fetchone()
        last = int(row[0]) if row else 0
        first = self._db.execute("SELECT min(sequence) FROM records").fetchone()[0]
        return (last + 1 if first is None else int(first)), last

    def shipped(self) -> internal_pb2.Shipped:
        """How far the journal has been copied to Kafka; an empty message where it never was."""
        return _shipped(self._db)

    def folder(self) -> str:
        """UUID of the data folder: what all the journal's nodes begin with."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'folder'").fetchone()
        return str(row[0])

    def records(
        self, after: int, through: int | None = None, kind: int | None = None
    ) -> Iterator[LogRecord]:
        """Records with sequence > after, in order, without a gap.

        Raises:
            LogError: a record is missing: trimmed before it was read, or the file is damaged.
        """
        limit = 2**63 - 1 if through is None else through
        # The second condition is what lets the index of rare kinds be used.
        only = "" if kind is None else f"AND kind = {int(kind)}" + " AND kind >= 5" * (kind >= 5)
        query = (
            f"SELECT {self.columns} WHERE sequence > ? AND sequence <= ? {only} "  # an int
            f"ORDER BY sequence LIMIT {_READ_CHUNK}"
        )
        more = True
        while more:
            batch, more = self._chunk(query, (after, limit))
            if kind is None and not (batch and batch[0].sequence == after + 1):
                self._check_first(after + 1)
            for record in batch:
                sequence = record.sequence
                if sequence != after + 1 and kind is None:
                    raise LogError(f"record {after + 1} is missing from the journal")
                after = sequence
                yield record

    def _check_first(self, needed: int) -> None:
        first = self.bounds()[0]
        if needed < first:
            raise LogError(
                f"the journal starts at record {first}, but record {needed} is needed; "
                "it was trimmed, or the data folder is a mixture of two"
            )

    def _chunk(self, query: str, bounds: tuple[int, int]) -> tuple[list[LogRecord], bool]:
        """The query's first records, and whether there may be more."""
        batch = []
        size = 0
        with closing(self._db.execute(query, bounds)) as rows:
            for record in map(LogRecord._make, rows):
                batch.append(record)
                size += len(record.payload)
                if size >= _READ_BYTES:
                    return batch, True
        return batch, len(batch) == _READ_CHUNK

    def read(self, sequence: int) -> LogRecord:
        """One record.

        Raises:
            LogError: it is not there (any more).
        """
        row = self._db.execute(self._one, (sequence,)).fetchone()
        if row is None:
            raise LogError(f"record {sequence} is not in the journal; it was trimmed")
        return LogRecord._make(row)

    def oldest(self, kind: int, app: str) -> LogRecord | None:
        """The first record kept of that kind (Config, Epoch, Promotion, Erasure) and app, or None."""
        row = self._db.execute(
            f"SELECT {self.columns} WHERE kind = ? AND kind >= 5 AND app = ? ORDER BY sequence LIMIT 1",
            (kind, app),
        ).fetchone()
        return None if row is None else LogRecord._make(row)

    def apps(self) -> list[str]:
        """Names of all apps that the journal has an epoch of, sorted."""
        rows = self._db.execute(
            "SELECT DISTINCT app FROM records WHERE kind = ? AND kind >= 5 ORDER BY app",
            (pb.KIND_EPOCH,),
        )
        return [row[0] for row in rows]

    def size_bytes(self) -> int:
        """Bytes of live pages."""
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        return int((pages - free) * self._db.execute("PRAGMA page_size").fetchone()[0])

    def first_at_or_after(self, log_time_us: int) -> int:
        """The smallest sequence whose record was stamped at or after that time; last + 1 if there is none."""
        low, last = self.bounds()
        high = last + 1
        while low < high:  # stamps never fall: bisect instead of an index
            middle = (low + high) // 2
            if self.read(middle).log_time_us >= log_time_us:
                high = middle
            else:
                low = middle + 1
        return low

    def close(self) -> None:
        self._db.close()


def _shipped(db: sqlite3.Connection) -> internal_pb2.Shipped:
    row = db.execute("SELECT value FROM meta WHERE name = 'shipped'").fetchone()
    return internal_pb2.Shipped() if row is None else internal_pb2.Shipped.FromString(row[0])
