"""A saved model as `rankd replay --policy` is given it: an exported file, a snapshot, a checkpoint, or FOLDER@VERSION."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rankd.commands import fail
from rankd.v1 import internal_pb2
from server.files import DataFolder
from server.fold.envelope import MAGIC, EnvelopeError, unseal
from server.fold.settings import FoldSettings
from server.learning.checkpoints import Checkpoints
from simulator.targets import Frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.model import Model
    from simulator.logs import Decided

_SEALED = MAGIC[:-1]  # one that a transfer in text mode has damaged is refused later, by what it is
_CHECKPOINT = ".ckpt"


@dataclass(frozen=True, slots=True)
class Saved:
    """A model that was trained elsewhere, or earlier."""

    spec: str
    settings: FoldSettings
    state: bytes
    version: int
    """Log records that were folded into it; 0 of one that was imported, which counts another log's."""

    def target(self) -> SavedTarget:
        """As it is.

        Raises:
            PolicyError: its state is not one of its own settings' policy.
        """
        return SavedTarget(self.spec, self.settings.spec().load(self.state))


class SavedTarget(Frozen):
    """A saved model that notes whether what it has learned makes any difference on a log."""

    def __init__(self, name: str, model: Model) -> None:
        super().__init__(name, model)
        blank = model.spec.build()
        # Until the two differ once. A policy without anything to learn is no stranger anywhere.
        self._blank = None if blank.state() == model.state() else Frozen(name, blank)

    def pmf(self, decision: Decided) -> NDArray[np.float64]:
        found = super().pmf(decision)
        if self._blank is not None and not np.array_equal(self._blank.pmf(decision), found):
            self._blank = None
        return found

    @property
    def doubt(self) -> str:
        """What is to be known of its estimates, once the log was replayed; "" if there is nothing."""
        if self._blank is None:
            return ""
        return (
            "the saved model decides here as one that has learned nothing: the log has none of its actions, or none of its features; "
            "are they named as in the service?"
        )


def saved(spec: str, app: str | None) -> Saved | None:
    """The model that a SPEC stands for; None of a SPEC that is a policy's settings. Ends the command where there is none."""
    folder, at, version = spec.rpartition("@")
    if at and version.isdecimal() and Path(folder).is_dir():
        return _version(spec, DataFolder(Path(folder)), int(version), app)
    path = Path(spec)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if not file.read(len(_SEALED)).startswith(_SEALED):
            return None
    try:
        if path.suffix == _CHECKPOINT:
            return _checkpoint(spec, unseal(internal_pb2.Checkpoint, path.read_bytes()))
        return _snapshot(spec, unseal(internal_pb2.Snapshot, path.read_bytes()))
    except (EnvelopeError, OSError, ValueError) as error:
        fail(f"--policy {spec}: cannot be used: {error}; `rankd models export` writes one")


def _version(spec: str, folder: DataFolder, version: int, app: str | None) -> Saved:
    """A version that `rankd models list` shows."""
    apps = sorted(path.name for path in (folder.root / "apps").glob("*") if path.is_dir())
    if app is None and len(apps) != 1:
        fail(f"--policy {spec}: pick one app with --app: {', '.join(apps) or 'there is none'}")
    name = app or apps[0]
    kept = Checkpoints(folder.checkpoints(name))
    try:
        if version in kept.versions():
            return _checkpoint(spec, kept.load(version))
        current = unseal(internal_pb2.Snapshot, folder.snapshot(name).read_bytes())
    except (EnvelopeError, OSError, ValueError) as error:
        fail(f"--policy {spec}: cannot be used: {error}")
    if current.model_version != version:
        there = ", ".join(map(str, [*kept.versions(), current.model_version]))
        fail(f"--policy {spec}: there is no such version; there are {there}")
    return _snapshot(spec, current)


def _checkpoint(spec: str, found: internal_pb2.Checkpoint) -> Saved:
    settings = FoldSettings.model_validate_json(found.config_json)
    return Saved(spec, settings, found.policy, found.version)


def _snapshot(spec: str, found: internal_pb2.Snapshot) -> Saved:
    settings = FoldSettings.model_validate_json(found.config_json)
    return Saved(spec, settings, found.policy, found.model_version)
