"""A saved model as `rankd replay --policy` is given it: an exported file, a snapshot, a checkpoint, or FOLDER@VERSION."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer

from rankd.commands import fail
from rankd.v1 import internal_pb2
from server.files import DataFolder
from server.fold.envelope import MAGIC, EnvelopeError, unseal
from server.fold.records import LogRecord
from server.fold.settings import FoldSettings
from server.learning.checkpoints import Checkpoints
from simulator.logs import Matured
from simulator.targets import Frozen

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from simulator.logs import Decided, Event, Log
    from simulator.replay import Pass
    from simulator.sample import Sample

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

    def target(self) -> Frozen:
        """As it is.

        Raises:
            PolicyError: its state is not one of its own settings' policy.
        """
        return Frozen(self.spec, self.settings.spec().load(self.state))


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


def learned_until(models: Sequence[Saved], log: Log) -> int:
    """The last record of this log that one of the models may have learned, 0 if none: what comes after can be scored honestly.

    Ends the command where a model of this very log does not say how much of it it has learned.
    """
    from simulator.logs.rankd_log import RankdLog

    own = log.first_settings() if isinstance(log, RankdLog) else None
    until = 0
    for model in models:
        if own is None or (own.app, own.salt) != (model.settings.app, model.settings.salt):
            typer.echo(
                f"note: --policy {model.spec}: this log does not tell whether the model has learned rows of it; "
                "where it has, the estimate is too good",
                err=True,
            )
        elif model.version == 0:
            fail(
                f"--policy {model.spec}: the model is of this log's app, and does not say which records it has learned: it "
                "would be scored on them. Give FOLDER@VERSION, or what `rankd models export` writes"
            )
        until = max(until, model.version if own is not None else 0)
    return until


class Learned:
    """A log that notes which rows were decided up to a record, so that they can be left out of what is concluded.

    Args:
        until: the number of that record; 0 where there is none.
    """

    def __init__(self, log: Log, until: int) -> None:
        self.log = log
        self._until = until
        self.name = log.name
        self.reward_range = log.reward_range
        self.counters: Counter[str] = log.counters
        self.decided = self.matured = 0  # of those
        self._places: dict[tuple[str, int], int] = {}  # of decisions that wait for their rewards
        self._rows: list[
            tuple[int, bool]
        ] = []  # place of the decision, whether a model may have learned it

    def __iter__(self) -> Iterator[Event]:
        if not self._until:
            yield from self.log
            return
        for place, event in enumerate(self.log):
            if isinstance(event, Matured):
                decision = event.decision
                old = self._old(decision)
                self._rows.append((self._places.pop((decision.key, decision.slot), place), old))
                self.matured += old
            else:
                self._places[event.key, event.slot] = place
                self.decided += self._old(event)
            yield event

    def _old(self, decision: Decided) -> bool:
        return isinstance(decision.raw, LogRecord) and decision.raw.sequence <= self._until

    def rows(self, sample: Sample) -> Sample:
        """Those that no model had learned."""
        return sample.rows(self._kept) if self.matured else sample

    @property
    def _kept(self) -> NDArray[np.bool_]:
        """Of the rows of a replay, which are in the order of their decisions."""
        return np.array([not old for _, old in sorted(self._rows)], np.bool_)

    def rest(self, found: Pass) -> Pass:
        """What no model had learned. Policies that learn have learned the rows before, as the saved ones had."""
        if not self.matured:
            return found
        kept = self._kept
        replayed = [
            replace(one, sample=one.sample.rows(kept), actions=one.actions[kept])
            for one in found.replayed
        ]
        typer.echo(
            f"note: {self.matured:,} of {found.matured:,} rows were decided before the saved model (record {self._until:,}): they are "
            "learned by policies that learn, and scored for none",
            err=True,
        )
        decided, matured = found.decided - self.decided, found.matured - self.matured
        return replace(found, replayed=replayed, decided=decided, matured=matured)
