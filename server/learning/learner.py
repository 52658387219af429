"""The learner: a process of its own that follows the log, folds it, and publishes what it learned.

It is the only writer of a model. A VW model holds the interpreter's lock while it learns, so it must not share a process
with what answers Rank.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from server.learning.retention import trim_to
from server.sections import microseconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from server.config import Config
    from server.learning.app import LearnerApp
    from server.learning.checkpoints import Checkpoints
    from server.learning.log import Log

log = structlog.get_logger("learner")

# Seconds between two status files of an app; a person or a dashboard reads them.
_STATUS_SECONDS = 0.5
# Seconds between two looks at retention. Each drops at most what has aged since.
_RETENTION_SECONDS = 60.0
# Records folded between two looks at the stop flag and the clock while catching up: a tenth of a second's work.
_BATCH = 500
# Records dropped in one go: about 10 ms, for which appends wait.
_TRIM_STEP = 2_000


class Duties(Protocol):
    """What a learner has to write into the log of an app, and whether it may publish."""

    def attend(self, caught_up: bool, stop: Event) -> bool:
        """Does what is due; returns whether anything was written that the fold should now read.

        Args:
            caught_up: whether the fold has reached the end of what the reader has.
        """

    def lease(self) -> int | None:
        """The lease to publish under; None: another one publishes."""

    def status(self) -> dict[str, Any]:
        """More for the status page."""

    def leave(self) -> None:
        """Orderly end: lets go of what others wait for."""


class Feed:
    """One log, and the apps that are folded from it: the journal and all of them, or an app's merged topic and that app."""

    def __init__(
        self,
        reader: Log,
        trim: Callable[[int], object] | None,
        apps: list[tuple[LearnerApp, Duties]],
        trims_for: list[Checkpoints],
    ) -> None:
        self._reader = reader
        self._trim = trim  # None: another process does
        self._trims_for = trims_for
        self.apps = apps
        self._more = True

    def follow(self) -> bool:
        """Folds the next batch of records; returns whether there may be more."""
        if not self._more and not self._reader.changed():
            return False
        with self._reader.snapshot():
            at = min(app.fold.version for app, _ in self.apps)
            for record in self._reader.records(at, at + _BATCH):
                for app, _ in self.apps:
                    if record.sequence > app.fold.version:
                        app.step(record)
        # What is committed from now on is there at the next poll: several looks for a few records each cost more than these.
        self._more = all(app.fold.version >= at + _BATCH for app, _ in self.apps)
        return self._more

    def attend(self, stop: Event) -> bool:
        """Duties, and what is to be published; returns whether anything was written into the log."""
        written = False
        for app, duties in self.apps:
            written |= duties.attend(not self._more, stop)
            lease = duties.lease()
            if lease is not None:
                app.publish(lease, hurried=self._more)
        self._more |= written
        return written

    def write_status(self) -> None:
        for app, duties in self.apps:
            app.write_status(duties.status())

    def retain(self, max_age_us: int, max_bytes: int) -> None:
        """Trims what is neither young nor needed."""
        if self._trim is None:
            return
        through = trim_to(self._reader, self._trims_for, max_age_us, max_bytes)
        if through is not None:
            log.info("trimming the log", through=through)
            first = self._reader.bounds()[0]
            for end in (*range(first + _TRIM_STEP, through, _TRIM_STEP), through):
                self._trim(end)
            for checkpoints in self._trims_for:
                checkpoints.drop_useless(through + 1)


class Learner:
    """Folds apps until stopped.

    Raises (all methods):
        LogError: the log cannot be read on; somebody has to look.
        PolicyError: a policy cannot be built as configured.
    """

    def __init__(self, config: Config, feeds: list[Feed]) -> None:
        self._config = config
        self._feeds = feeds
        self._status_at = 0.0
        self._retention_at = time.monotonic() + _RETENTION_SECONDS

    def run(self, stop: Event) -> None:
        """Follows the logs."""
        poll = self._config.learner.poll.total_seconds()
        while not stop.is_set():
            busy = False
            for feed in self._feeds:
                busy |= feed.follow()
                busy |= feed.attend(stop)
            self._house_keeping()
            if not busy:
                stop.wait(poll)
        for feed in self._feeds:
            for _, duties in feed.apps:
                duties.leave()

    def _house_keeping(self) -> None:
        now = time.monotonic()
        if now >= self._status_at:
            self._status_at = now + _STATUS_SECONDS
            for feed in self._feeds:
                feed.write_status()
        if now >= self._retention_at:
            self._retention_at = now + _RETENTION_SECONDS
            for feed in self._feeds:
                feed.retain(microseconds(self._config.log.max_age), self._config.log.max_bytes)
