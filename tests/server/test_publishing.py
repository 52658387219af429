"""A learner publishes what servers are to serve, also when that could not be written at first."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.envelope import unseal
from server.learning import publisher
from server.learning.app import LearnerApp
from tests.exports.memory_log import MemoryLog

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def learn(log: MemoryLog, count: int) -> None:
    for _ in range(count):
        event = f"e{len(log.log)}"
        log.rank(event)
        log.reward(event, 1.0)
        log.tick(12)


def test_a_pinned_model_that_could_not_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MemoryLog()
    path = tmp_path / "current.model"
    app: Any = LearnerApp.__new__(LearnerApp)  # without a journal to resume from
    app.name, app.fold, app._artefact = "shop", log.folds["shop"], log.artefact
    app._publisher, app._pinned = publisher.Publisher(path, 0.0), 0
    app._failing, app._publish_at = set(), 0.0

    def served() -> int:
        app._publisher._next = 0.0
        app.publish()
        return unseal(internal_pb2.Snapshot, path.read_bytes()).model_version

    learn(log, 3)
    old = served()
    kept, version = log.keep(app.fold.model.state()), app.fold.version
    learn(log, 3)
    newest = served()
    assert newest > version >= old
    pin = pb.Promotion(
        action=pb.Promotion.ACTION_PIN,
        epoch=app.fold.epoch,
        model_version=version,
        state_sha256=kept,
    )
    log.append(pb.KIND_PROMOTION, "shop", payload=pin)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(publisher, "replace", full)
        assert served() == newest
    learn(log, 1)
    assert served() == version
