"""What a learner owes to a log that several nodes share.

One learner owns an app; others stand by and fold along. The log itself says which: a Lease is a record, and the first with
the next number wins. The owner renews it; where a renewal is missing for longer than the lease, on the log's own clock,
whoever stands by takes the next number. So all see the same owner at the same place, an outage of Kafka, in which the log
stands still, makes nobody give up anybody, and what a learner that was thought dead publishes has a number that no
server accepts any more.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import structlog

from rankd.v1 import log_pb2 as pb
from server.journal.client import JournalError
from server.learning.epochs import announce, config_record, epoch_record, in_force, record, wanted
from server.learning.pieces import pieces_of
from server.sections import microseconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from threading import Event

    from server.config import Config
    from server.fold.settings import FoldSettings
    from server.journal.client import BlockingJournal
    from server.learning.app import LearnerApp

log = structlog.get_logger("learner")

# What was written is written again if the log does not show it within so many seconds. Kafka may be away for much
# longer; then copies gather in the journal, one each time, and are harmless.
_PATIENCE = 10.0
# The lease is renewed when this share of it has passed.
_RENEW = 0.25
# A learner that is this many records behind does not bid for a lease: it would not see who has it.
_BEHIND = 5_000
# The follower writes its report twice a second; one that is older than this (seconds) says nothing.
_STALE = 5.0


class SharedDuties:
    """Lease, epochs and fences of one app."""

    def __init__(
        self,
        app: LearnerApp,
        config: Config,
        journal: BlockingJournal,
        me: str,
        following: Path,
    ) -> None:
        self._app = app
        self._config = config
        self._journal = journal
        self._me = me  # UUID of this node's folder
        self._following = following
        self._lease_us = microseconds(config.kafka.learner_lease)
        self._node_lease_us = microseconds(config.kafka.node_lease)
        self._written: dict[str, float] = {}  # what -> when it was written last, monotonic seconds
        self._report: dict[str, Any] = {}
        self._report_at = 0.0
        self._owned = False
        self._settled: tuple[int, bool] | None = None  # (epoch, holds) that need no other

    # -- the lease ---------------------------------------------------------------------------------

    @property
    def _owns(self) -> bool:
        lease = self._app.fold.lease
        return lease.number > 0 and lease.owner == self._me and not lease.released

    def lease(self) -> int | None:
        return self._app.fold.lease.number if self._owns else None

    def attend(self, caught_up: bool, stop: Event) -> bool:
        self._tell_owner()
        if self._owns:
            self._renew()
            if caught_up:
                self._fence()
                self._epoch()
        elif caught_up and self._vacant() and self._current():
            number = self._app.fold.lease.number + 1
            self._write("bid", [self._lease(number)], self._lease_us / 1e6)
        return False  # what was written comes back by way of Kafka

    def _vacant(self) -> bool:
        fold = self._app.fold
        silent = fold.clock.now_us - fold.lease_renewed_us
        return fold.lease.number == 0 or fold.lease.released or silent > self._lease_us

    def _current(self) -> bool:
        """Whether the merged log is that of the topic as it is now, as far as the follower knows."""
        report = self._read_report()
        behind = report.get("behind")
        return report.get("kafka", False) and behind is not None and behind <= _BEHIND

    def _read_report(self) -> dict[str, Any]:
        now = time.monotonic()
        if now - self._report_at > 0.5:
            self._report_at = now
            self._report = {}
            try:
                if time.time() - self._following.stat().st_mtime < _STALE:
                    self._report = json.loads(self._following.read_bytes())
            except (OSError, ValueError):
                pass  # not written yet
        return self._report

    def _renew(self) -> None:
        fold = self._app.fold
        if fold.clock.now_us - fold.lease_renewed_us >= _RENEW * self._lease_us:
            self._write("renewal", [self._lease(fold.lease.number)], _RENEW * self._lease_us / 1e6)

    def _lease(self, number: int, released: bool = False) -> pb.Record:
        lease = pb.Lease(number=number, owner=self._me, released=released)
        return record(self._app.name, pb.KIND_LEASE, lease.SerializeToString())

    def _tell_owner(self) -> None:
        if self._owns != self._owned:
            self._owned = self._owns
            number = self._app.fold.lease.number
            what = "publishing from now on" if self._owned else "another learner publishes now"
            log.info(what, app=self._app.name, lease=number)
            self._written.clear()
            self._settled = None

    def leave(self) -> None:
        """Lets a standby take over at once."""
        if self._owns:
            number = self._app.fold.lease.number
            self._write("release", [self._lease(number, released=True)], 0.0)

    # -- fences and epochs -------------------------------------------------------------------------

    def _fence(self) -> None:
        for folder in self._app.fold.clock.silent(self._node_lease_us):
            fence = record(
                self._app.name, pb.KIND_FENCE, pb.Fence(folder=folder).SerializeToString()
            )
            if folder != self._me and self._write(f"fence {folder}", [fence], _PATIENCE):
                log.warning(
                    "nothing has been heard of a node for longer than its lease; windows wait for it no longer",
                    app=self._app.name,
                    node=folder,
                )

    def _epoch(self) -> None:
        """First the Config; when the fold has come to it, and holds, the Epoch with the state that it holds."""
        fold = self._app.fold
        if self._settled == (fold.epoch, fold.holds):
            return
        settings = wanted(self._app, self._config)
        if not fold.holds and in_force(self._app, settings):
            self._settled = (fold.epoch, fold.holds)
        elif settings in fold.proposed:
            self._open(settings)
        else:
            self._write("config", [config_record(self._app, settings)], _PATIENCE)

    def _open(self, settings: FoldSettings) -> None:
        number = self._app.fold.epoch + 1
        if self._fresh(f"epoch {number}", _PATIENCE):
            epoch, artefact = epoch_record(self._app, settings)
            pieces = pieces_of(self._app.name, artefact, epoch.header.origin_time_us)
            if self._write(f"epoch {number}", [*pieces, epoch], _PATIENCE):
                announce(self._app, settings, epoch)

    # -- writing -----------------------------------------------------------------------------------

    def _fresh(self, what: str, again: float) -> bool:
        """Whether it was not written within the last `again` seconds."""
        return time.monotonic() - self._written.get(what, float("-inf")) >= again

    def _write(self, what: str, records: Sequence[pb.Record], again: float) -> bool:
        """Writes into this node's journal, unless that was done just now; returns whether it was."""
        if not self._fresh(what, again):
            return False
        self._written[what] = time.monotonic()
        try:
            self._journal.append(records)
        except JournalError as error:
            log.error(
                "cannot write into the log; trying again",
                app=self._app.name,
                what=what,
                error=str(error),
            )
            return False
        return True

    def status(self) -> dict[str, Any]:
        """What the status page has to know beyond the fold."""
        fold, report = self._app.fold, self._read_report()
        merged = report.get("merged", fold.version)
        return {
            "owner": self._owns,
            "owner_folder": "" if fold.lease.released else fold.lease.owner,
            "lease": fold.lease.number,
            "log_records": max(merged, fold.version) + (report.get("behind") or 0),
            "lag_seconds": max(0.0, report.get("order_time_us", 0) - (fold.clock.order_us or 0))
            / 1e6,
            "following": report,
            "silent_nodes": fold.clock.silent(3 * 1_000_000),
        }
