"""One app in a learner: its fold, and the files that the fold is kept in."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import structlog

from policies import PolicyError
from rankd.v1 import internal_pb2
from server.files import replace
from server.fold.fold import AppFold
from server.fold.records import LogError
from server.learning.artefacts import Artefacts
from server.learning.checkpoints import Checkpoints
from server.learning.pieces import artefact_in
from server.learning.publisher import Publisher
from server.learning.retention import beginning

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.config import Config
    from server.files import DataFolder
    from server.fold.records import LogRecord
    from server.fold.settings import FoldSettings
    from server.learning.log import Log, MergedLog

log = structlog.get_logger("learner")

# A checkpoint that takes long to save, with a million pending decisions say, is saved so seldom that saving takes at most
# this share of the time. A restart has to read again what came in up to fifty times as long, which takes it a small part of that.
_SHARE = 0.02
# One that takes less is saved wherever it may be (seconds).
_QUICK = 0.05
# Seconds between two published models while the fold is catching up.
_HURRIED_SECONDS = 0.5


class LearnerApp:
    """The fold of one app, resumed from its newest good checkpoint or from the beginning of the log.

    Args:
        merged: the same log, if it was merged from a topic.

    Raises:
        LogError: the log does not reach back to where the fold would have to begin, or ends before it.
    """

    def __init__(
        self,
        name: str,
        reader: Log,
        config: Config,
        folder: DataFolder,
        merged: MergedLog | None = None,
    ) -> None:
        self.name = name
        self.artefacts = Artefacts(folder.artefacts(name))
        self.checkpoints = Checkpoints(folder.checkpoints(name), config.learner.keep_checkpoints)
        self.fold = AppFold(name, reader.read, self._artefact)
        self._reader = reader
        self._merged = merged
        self._status = folder.status(name)
        self._publisher = Publisher(folder.snapshot(name), config.learner.publish.total_seconds())
        self._pinned = 0  # version last published because it was pinned
        self._failing: set[str] = set()  # what could not be done when it was last tried
        self._checkpoint_at = self._publish_at = 0.0  # not before
        self._resume()

    def _resume(self) -> None:
        first, last = self._reader.bounds()
        for checkpoint in self.checkpoints.newest():
            if checkpoint.HasField("merge_state") != (self._merged is not None):
                if self._merged is None:
                    raise LogError(
                        f"app {self.name!r}: its checkpoints are of a log that was shared through Kafka; this folder's "
                        "journal alone does not hold it. Configure kafka.bootstrap again, or start on an empty folder"
                    )
                log.warning("a checkpoint from before the log was shared; not used", app=self.name)
                break
            if checkpoint.version > last:
                raise LogError(
                    f"app {self.name!r}: a checkpoint stands at record {checkpoint.version}, but the log ends at "
                    f"{last}. The log was restored from an older backup, or belongs to another folder: "
                    "restore checkpoints and log of the same time"
                )
            if checkpoint.oldest_needed < first:
                break
            try:
                self.fold.restore(checkpoint)
            except PolicyError as error:
                log.error(
                    "cannot load a checkpoint; using the one before",
                    app=self.name,
                    version=checkpoint.version,
                    error=str(error),
                )
                continue
            log.info("resumed", app=self.name, version=checkpoint.version, log=last)
            return
        if first > 1:
            start = beginning(self._reader, self.name, self.checkpoints)
            if start is None:
                raise LogError(
                    f"app {self.name!r}: no good checkpoint reaches back to record {first}, where the trimmed log "
                    "begins. Restore apps/ from a backup"
                )
            self.fold.restore(start)

    def _artefact(self, sha256: str) -> bytes:
        """From its file, or else from the log, if others may have written it there."""
        if self._merged is None or sha256 in self.artefacts.names():
            return self.artefacts.state(sha256)
        artefact = artefact_in(self._merged, self.name, sha256)
        self._try("keep an artefact", lambda: self.artefacts.save(artefact))
        return artefact.policy

    def step(self, record: LogRecord) -> None:
        """Folds one record; takes a checkpoint where one is due."""
        self.fold.step(record)
        if self.fold.due() and (
            time.monotonic() >= self._checkpoint_at or self.checkpoints.archives(record.sequence)
        ):
            self._try("checkpoint", self._checkpoint)

    def _checkpoint(self) -> None:
        started = time.monotonic()
        pieces = self.fold.pieces()
        checkpoint = next(pieces)
        if self._merged is not None:
            state = self._merged.merge_state(checkpoint.oldest_needed - 1)
            checkpoint.merge_state = state.SerializeToString()
        self.checkpoints.save(checkpoint, pieces)
        took = time.monotonic() - started
        self._checkpoint_at = started + (took / _SHARE if took > _QUICK else 0.0)

    def publish(self, lease: int = 0, hurried: bool = False) -> None:
        """Publishes the model if it has changed and it is time.

        Args:
            hurried: the fold is behind; a model that is old already need not be published so often.
        """
        if hurried and time.monotonic() < self._publish_at:
            return
        self._publish_at = time.monotonic() + _HURRIED_SECONDS

        def make(newer_than: tuple[int, int, int]) -> internal_pb2.Snapshot | None:
            return self._snapshot(lease, newer_than)

        self._try("publish a model", lambda: self._published(self._publisher.publish(make)))

    def _published(self, snapshot: internal_pb2.Snapshot | None) -> None:
        """Takes note of what was written; not before, as it may fail and has to be tried again then."""
        if snapshot is not None:
            pinned = self.fold.pinned
            self._pinned = 0 if pinned is None else pinned.model_version

    def _snapshot(
        self, lease: int, newer_than: tuple[int, int, int]
    ) -> internal_pb2.Snapshot | None:
        fold = self.fold
        if fold.settings is None or fold.model is None:
            return None
        if (lease, fold.epoch, fold.changed_at) <= newer_than:
            return None
        pinned = fold.pinned
        served = pinned is not None and pinned.model_version == self._pinned
        if served and lease == newer_than[0]:
            return None  # it is served already, however much is learned meanwhile
        if pinned is not None:
            state = self._artefact(pinned.state_sha256)
            snapshot = self.snapshot_of(fold.settings, pinned.epoch, pinned.model_version, state)
        else:
            snapshot = self.snapshot_of(fold.settings, fold.epoch, fold.version, fold.model.state())
        snapshot.epoch, snapshot.published_at, snapshot.lease = fold.epoch, fold.version, lease
        return snapshot

    def snapshot_of(
        self, settings: FoldSettings, epoch: int, version: int, state: bytes
    ) -> internal_pb2.Snapshot:
        return internal_pb2.Snapshot(
            app=self.name,
            epoch=epoch,
            published_at=version,
            model_epoch=epoch,
            model_version=version,
            config_json=settings.canonical(),
            policy=state,
        )

    def write_status(self, more: dict[str, Any]) -> None:
        """What the fold knows of itself, for Admin.Status."""
        fold = self.fold
        if fold.settings is None or fold.joiner is None:
            return
        status = {
            "app": self.name,
            "policy": str(fold.settings.policy["type"]),
            "mode": fold.settings.mode,
            "epoch": fold.epoch,
            "folded": fold.version,
            "order_time_us": fold.clock.order_us,
            "pending": fold.joiner.open,
            "counters": fold.joiner.counters,
            "sums": fold.report.sums,
            "reward_range": [fold.settings.reward_min, fold.settings.reward_max],
            "pinned": fold.pinned.model_version if fold.pinned else None,
            "policy_report": fold.model.policy.report() if fold.model else {},
            "drift": fold.model.drift.report() if fold.model and fold.model.drift else None,
            **more,
        }
        data = json.dumps(status).encode()
        self._try("write the status", lambda: replace(self._status, data, durable=False))

    def _try(self, what: str, action: Callable[[], object]) -> None:
        """Files that can be made again must not stop the fold: a full disk is reported once, and tried again."""
        try:
            action()
            self._failing.discard(what)
        except OSError as error:
            if what not in self._failing:
                log.error(f"cannot {what}; going on without", app=self.name, error=str(error))
            self._failing.add(what)
