"""What a learner writes into the log when its configuration, or its libraries, are not those that the fold goes by."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import structlog

from policies import state_sha256
from rankd.v1 import log_pb2 as pb
from server.fold.settings import differences

if TYPE_CHECKING:
    from rankd.v1 import internal_pb2
    from server.config import Config
    from server.fold.settings import FoldSettings
    from server.learning.app import LearnerApp

log = structlog.get_logger("learner")


def wanted(app: LearnerApp, config: Config) -> FoldSettings:
    """The settings that the configuration asks for, under the salt that the app has already, or a fresh one."""
    fold = app.fold
    known = [fold.settings] if fold.settings else fold.proposed
    return config.fold_settings(app.name, known[0].salt if known else secrets.token_hex(16))


def in_force(app: LearnerApp, settings: FoldSettings) -> bool:
    """Whether the fold goes by these settings and by the libraries that are installed."""
    fold = app.fold
    return fold.settings == settings and fold.libraries == settings.required_libraries()


def config_record(app: LearnerApp, settings: FoldSettings) -> pb.Record:
    config = pb.Config(json=settings.canonical(), sha256=settings.sha256())
    return record(app.name, pb.KIND_CONFIG, config.SerializeToString())


def epoch_record(
    app: LearnerApp, settings: FoldSettings
) -> tuple[pb.Record, internal_pb2.Snapshot]:
    """The Epoch that opens under these settings from where the fold stands, and the model that it starts with."""
    fold = app.fold
    start, model = fold.start_of_epoch(settings)
    state = model.state()
    epoch = pb.Epoch(
        number=fold.epoch + 1,
        start=start,
        config_sha256=settings.sha256(),
        state_sha256=state_sha256(state),
        libraries=settings.required_libraries(),
    )
    artefact = app.snapshot_of(settings, epoch.number, fold.version, state)
    app.artefacts.save(artefact)
    return record(app.name, pb.KIND_EPOCH, epoch.SerializeToString()), artefact


def announce(app: LearnerApp, settings: FoldSettings, epoch: pb.Record) -> None:
    """Tells the operator what opens and why."""
    before = app.fold.settings
    if before is None:
        log.info("first epoch", app=app.name, policy=settings.policy)
        return
    changed = differences(before.model_dump(), settings.model_dump()) or ["library versions"]
    if pb.Epoch.FromString(epoch.payload).start == pb.Epoch.START_FRESH:
        log.warning("new epoch; the policy starts untrained", app=app.name, changed=changed)
    else:
        log.info("new epoch; the policy goes on from its state", app=app.name, changed=changed)


def record(app: str, kind: pb.Kind, payload: bytes) -> pb.Record:
    """A record that happens now."""
    header = pb.Header(app=app, kind=kind, origin_time_us=time.time_ns() // 1_000)
    return pb.Record(header=header, payload=payload)
