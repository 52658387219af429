"""The learner: a process of its own that follows the log, folds it, and publishes what it learned.

It is the only writer of a model. A VW model holds the interpreter's lock while it learns, so it must not share a process
with what answers Rank.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING

import structlog

from policies import PolicyError, state_sha256
from policies.registry import libraries
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.config import microseconds
from server.files import replace
from server.fold.fold import AppFold
from server.fold.records import LogError, LogRecord
from server.fold.settings import differences
from server.journal.client import BlockingJournal, JournalFullError, JournalMovedError
from server.journal.store import JournalReader
from server.learning.artefacts import Artefacts
from server.learning.checkpoints import Checkpoints
from server.learning.publisher import Publisher
from server.learning.retention import beginning, trim_to

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from server.config import Config
    from server.files import DataFolder
    from server.fold.settings import FoldSettings

log = structlog.get_logger("learner")

# Seconds between two status files of an app; a person or a dashboard reads them.
_STATUS_SECONDS = 0.5
# Seconds between two looks at retention. Each drops at most what has aged since.
_RETENTION_SECONDS = 60.0
# Records folded between two looks at the stop flag and the clock while catching up: a tenth of a second's work.
_BATCH = 500
# Records dropped in one go: about 10 ms, for which appends wait.
_TRIM_STEP = 2_000
# A full disk is tried again after this many seconds.
_RETRY_SECONDS = 1.0


class Learner:
    """Folds every configured app from one journal.

    Raises (all methods):
        LogError: the log cannot be read on; somebody has to look.
        PolicyError: a policy cannot be built as configured.
    """

    def __init__(self, config: Config, folder: DataFolder) -> None:
        self._config = config
        self._folder = folder
        self._journal = BlockingJournal(folder.socket, timeout=10.0)
        self._reader = JournalReader(folder.journal)
        self._apps = {name: self._resume(name) for name in sorted(config.apps)}
        self._status_at = 0.0
        self._retention_at = time.monotonic() + _RETENTION_SECONDS

    def run(self, stop: Event) -> None:
        """Catches up, opens new epochs where the configuration asks for them, then follows the log until stopped."""
        while not stop.is_set() and self._follow():
            pass
        for app in self._apps.values():
            if not stop.is_set():
                self._open_epoch(app, stop)
        poll = self._config.learner.poll.total_seconds()
        more = True
        while not stop.is_set():
            if more or self._reader.changed():
                more = self._follow()
            else:
                self._publish()
                self._house_keeping()
                stop.wait(poll)

    def _read(self, place: tuple[str, int]) -> LogRecord:
        return self._reader.read(place[1])

    def _resume(self, name: str) -> _App:
        """The app's fold from its newest good checkpoint, or from the beginning of the log."""
        first, last = self._reader.bounds()
        app = _App(name, self, self._config, self._folder)
        for checkpoint in app.checkpoints.newest():
            if checkpoint.version > last:
                raise LogError(
                    f"app {name!r}: a checkpoint stands at record {checkpoint.version}, but the journal ends at "
                    f"{last}. The journal was restored from an older backup, or belongs to another folder: "
                    "restore checkpoints and journal of the same time"
                )
            if checkpoint.oldest_needed < first:
                break
            try:
                app.fold.restore(checkpoint)
            except PolicyError as error:
                log.error(
                    "cannot load a checkpoint; using the one before",
                    app=name,
                    version=checkpoint.version,
                    error=str(error),
                )
                continue
            log.info("resumed", app=name, version=checkpoint.version, log=last)
            return app
        if first > 1:
            start = beginning(self._reader, name, app.checkpoints)
            if start is not None:
                app.fold.restore(start)
                return app
            raise LogError(
                f"app {name!r}: no good checkpoint reaches back to record {first}, where the trimmed journal begins. "
                "Restore apps/ from a backup"
            )
        return app

    def _follow(self) -> bool:
        """Folds the next batch of records; returns whether there was one."""
        at = min(app.fold.version for app in self._apps.values())
        through = min(at + _BATCH, self._reader.bounds()[1])
        for record in self._reader.records(at, through):
            for app in self._apps.values():
                if record.sequence > app.fold.version:
                    app.step(record)
        self._publish()
        self._house_keeping()
        return through > at

    def _open_epoch(self, app: _App, stop: Event) -> None:
        """Puts Config and Epoch into the log if what is configured or installed is not what the fold has."""
        while not stop.is_set():
            fold = app.fold
            salt = fold.settings.salt if fold.settings else secrets.token_hex(16)
            wanted = self._config.fold_settings(app.name, salt)
            installed = libraries(wanted.policy)
            if fold.settings == wanted and fold.libraries == installed:
                return
            start, model = fold.start_of_epoch(wanted)
            state = model.state()
            epoch = pb.Epoch(
                number=fold.epoch + 1,
                start=start,
                config_sha256=wanted.sha256(),
                state_sha256=state_sha256(state),
                libraries=installed,
            )
            app.artefacts.save(app.snapshot_of(wanted, epoch.number, fold.version, state))
            config = pb.Config(json=wanted.canonical(), sha256=epoch.config_sha256)
            records = [
                _record(app.name, pb.KIND_CONFIG, config.SerializeToString()),
                _record(app.name, pb.KIND_EPOCH, epoch.SerializeToString()),
            ]
            try:
                self._journal.append(records, expected_last=fold.version)
                self._announce(app, wanted, start)
            except JournalMovedError:
                pass  # a Tick came in between: fold it and try again
            except JournalFullError as error:
                log.error("cannot open an epoch", app=app.name, error=str(error))
                stop.wait(_RETRY_SECONDS)
            while not stop.is_set() and self._follow():
                pass

    @staticmethod
    def _announce(app: _App, wanted: FoldSettings, start: pb.Epoch.Start) -> None:
        before = app.fold.settings
        if before is None:
            log.info("first epoch", app=app.name, policy=wanted.policy)
            return
        changed = differences(before.model_dump(), wanted.model_dump()) or ["library versions"]
        if start == pb.Epoch.START_FRESH:
            log.warning("new epoch; the policy starts untrained", app=app.name, changed=changed)
        else:
            log.info("new epoch; the policy goes on from its state", app=app.name, changed=changed)

    def _publish(self) -> None:
        for app in self._apps.values():
            app.publish()

    def _house_keeping(self) -> None:
        now = time.monotonic()
        if now >= self._status_at:
            self._status_at = now + _STATUS_SECONDS
            for app in self._apps.values():
                app.write_status()
        if now >= self._retention_at:
            self._retention_at = now + _RETENTION_SECONDS
            self._trim()

    def _trim(self) -> None:
        through = trim_to(
            self._reader,
            [app.checkpoints for app in self._apps.values()],
            microseconds(self._config.log.max_age),
            self._config.log.max_bytes,
        )
        if through is not None:
            log.info("trimming the log", through=through)
            first = self._reader.bounds()[0]
            for end in (*range(first + _TRIM_STEP, through, _TRIM_STEP), through):
                self._journal.trim(end)
            for app in self._apps.values():
                app.checkpoints.drop_useless(through + 1)


class _App:
    """One app's fold with its files."""

    def __init__(self, name: str, learner: Learner, config: Config, folder: DataFolder) -> None:
        self.name = name
        self.artefacts = Artefacts(folder.artefacts(name))
        self.checkpoints = Checkpoints(folder.checkpoints(name), config.learner.keep_checkpoints)
        self.fold = AppFold(name, learner._read, self.artefacts.state)
        self._status = folder.status(name)
        self._publisher = Publisher(folder.snapshot(name), config.learner.publish.total_seconds())
        self._pinned = 0  # version last published because it was pinned
        self._failing: set[str] = set()  # what could not be done when it was last tried

    def step(self, record: LogRecord) -> None:
        """Folds one record; takes a checkpoint where one is due."""
        self.fold.step(record)
        if self.fold.due():
            self._try("checkpoint", lambda: self.checkpoints.save(self.fold.checkpoint()))

    def publish(self) -> None:
        self._try("publish a model", lambda: self._publisher.publish(self._snapshot))

    def _snapshot(self, newer_than: tuple[int, int]) -> internal_pb2.Snapshot | None:
        fold = self.fold
        if fold.settings is None or fold.model is None:
            return None
        if (fold.epoch, fold.changed_at) <= newer_than:
            return None
        pinned = fold.pinned
        if pinned is not None and pinned.model_version == self._pinned:
            return None  # it is served already, however much is learned meanwhile
        self._pinned = 0 if pinned is None else pinned.model_version
        if pinned is not None:
            state = self.artefacts.state(pinned.state_sha256)
            snapshot = self.snapshot_of(fold.settings, pinned.epoch, pinned.model_version, state)
        else:
            snapshot = self.snapshot_of(fold.settings, fold.epoch, fold.version, fold.model.state())
        snapshot.epoch, snapshot.published_at = fold.epoch, fold.version
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

    def write_status(self) -> None:
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


def _record(app: str, kind: pb.Kind, payload: bytes) -> pb.Record:
    header = pb.Header(app=app, kind=kind, origin_time_us=time.time_ns() // 1_000)
    return pb.Record(header=header, payload=payload)
