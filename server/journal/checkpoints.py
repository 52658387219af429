"""SQLite's checkpoints beside the appends: what stands in the write-ahead log is copied into the journal's file by a thread.

SQLite itself would do that inside a commit, which then takes ten times as long, and all calls wait. It writes the log from
its beginning again only when all of it has been copied and nothing appended since: where appends never pause, one of them waits for the last pages.
"""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

log = structlog.get_logger("writer")

# Bytes that are appended before they are copied, about; that takes some milliseconds, in which appends go on. The disk takes a commit and a copy one after the
# other: with 8 MB one commit in a hundred took 3 ms, with this much 1 ms.
_EVERY = 1 << 20
# Bytes of the write-ahead log beyond which an append waits for the last pages, 1 to 3 ms. After a crash all of it is read, at the first start, in
# about .2 s.
_MOST = 32 << 20
# Bytes of a page, SQLite's default. A transaction takes two besides its payload and the index: of the records and the newest sequence.
_PAGE = 4096
_OTHERS = 2


class Checkpoints:
    """Of one journal, whose own connection leaves them to this (`wal_autocheckpoint=0`)."""

    def __init__(self, path: Path) -> None:
        # Its own, which the thread uses, and this one while the thread rests.
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # Open as long as the journal is: a process that closes a file gives up its locks on it, SQLite's too.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._running: Future[int] | None = None
        self._written = 0

    def wrote(self, size: int, pages: int) -> None:
        """Takes note of a commit. For the thread that appends; may take a few milliseconds.

        Args:
            size: bytes of payload.
            pages: of indices that it changed.
        """
        self._written += size + (pages + _OTHERS) * _PAGE
        ended = self._running is not None and self._running.done()
        if ended and self._ended() > _MOST:
            self._copy()  # nothing is appended meanwhile, so this reaches the log's end
        if self._written >= _EVERY and self._running is None:
            self._written = 0
            self._running = self._thread.submit(self._copy)

    def wrote_much(self) -> None:
        """Takes note of a commit of unknown size."""
        self.wrote(_EVERY, 0)

    def failed(self) -> None:
        """A commit has failed, most likely for want of room. What is copied leaves its room in the log to the next one."""
        self._ended()
        self._copy()

    def _ended(self) -> int:
        """Waits for the copy that is being made, if any; returns the bytes of the write-ahead log."""
        running, self._running = self._running, None
        return 0 if running is None else running.result()

    def _copy(self) -> int:
        """Copies what is there, and waits for the disk; returns the bytes of the write-ahead log."""
        try:
            _, pages, _ = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            # SQLite waits for the disk only at the log's end, and then for all that was copied since the last time.
            os.fsync(self._file)
        except (sqlite3.Error, OSError) as error:  # most likely there is no room; nothing is lost
            log.warning("cannot copy the write-ahead log into the journal yet", error=str(error))
            return 0
        return int(pages) * _PAGE

    def stop(self) -> None:
        """Waits for the copy that is being made; none is made any more. May be called again."""
        self._thread.shutdown()
        self._db.close()

    def close(self) -> None:
        """Once the journal is closed. May be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
