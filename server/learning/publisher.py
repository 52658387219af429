"""Publishes an app's model as a file that servers watch; never a lower (lease, epoch, version) after a higher one."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from rankd.v1 import internal_pb2
from server.files import replace
from server.fold.envelope import EnvelopeError, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A model that takes long to save is published so seldom that saving takes at most this share of the time.
_SHARE = 0.1
# What saving takes is the least of so many last times: one that the system held up for 150 ms would otherwise keep
# the next model back for 1.5 s.
_TIMES = 3


class Publisher:
    """Writes snapshots to one file, at most one every `interval` seconds."""

    def __init__(self, path: Path, interval: float) -> None:
        self._path = path
        self._interval = interval
        self._next = 0.0
        self._took: deque[float] = deque(maxlen=_TIMES)  # seconds
        self._stat: tuple[int, int] | None = None  # of the file as it was read or written last
        self._published = (0, 0, 0)

    def publish(
        self, make: Callable[[tuple[int, int, int]], internal_pb2.Snapshot | None]
    ) -> internal_pb2.Snapshot | None:
        """Publishes what `make` gives, if it is time; returns it if so.

        Args:
            make: given the (lease, epoch, version) published last, the snapshot to publish, or None if nothing changed.

        Raises:
            OSError: it could not be written.
        """
        started = time.monotonic()
        if started < self._next:
            return None
        self._look()
        snapshot = make(self._published)
        if snapshot is None or _order(snapshot) <= self._published:
            return None
        replace(self._path, seal(snapshot), durable=False)
        self._published, self._stat = _order(snapshot), self._stat_now()
        ended = time.monotonic()
        self._took.append(ended - started)
        self._next = ended + max(self._interval, min(self._took) / _SHARE)
        return snapshot

    def _look(self) -> None:
        """Reads what is published, if another process has put it there: another learner's model, by way of Redis."""
        stat = self._stat_now()
        if stat is None or stat == self._stat:
            return
        self._stat = stat
        try:
            self._published = _order(unseal(internal_pb2.Snapshot, self._path.read_bytes()))
        except (FileNotFoundError, EnvelopeError):
            self._published = (0, 0, 0)

    def _stat_now(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        return stat.st_mtime_ns, stat.st_ino


def _order(snapshot: internal_pb2.Snapshot) -> tuple[int, int, int]:
    return snapshot.lease, snapshot.epoch, snapshot.published_at
