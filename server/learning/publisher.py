"""Publishes an app's model as a file that servers watch; never a lower (epoch, version) after a higher one."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from rankd.v1 import internal_pb2
from server.files import replace
from server.learning.envelope import EnvelopeError, seal, unseal

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
        try:
            current = unseal(internal_pb2.Snapshot, path.read_bytes())
            self._published = (current.epoch, current.published_at)
        except (FileNotFoundError, EnvelopeError):
            self._published = (0, 0)

    def publish(self, make: Callable[[tuple[int, int]], internal_pb2.Snapshot | None]) -> None:
        """Publishes what `make` gives, if it is time.

        Args:
            make: given the pair (epoch, version) published last, the snapshot to publish, or None if nothing changed.
        """
        started = time.monotonic()
        if started < self._next:
            return
        snapshot = make(self._published)
        if snapshot is None or (snapshot.epoch, snapshot.published_at) <= self._published:
            return
        replace(self._path, seal(snapshot), durable=False)
        self._published = (snapshot.epoch, snapshot.published_at)
        ended = time.monotonic()
        self._took.append(ended - started)
        self._next = ended + max(self._interval, min(self._took) / _SHARE)
