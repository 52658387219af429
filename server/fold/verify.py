"""Re-derives every logged decision from the log itself: same model, same salt, so same pmf, draw and ranking, to the bit.

The log is read twice: once to learn which model versions decided, once to fold; whenever the fold reaches such a
version, its decisions are made again. Arithmetic that could differ between machines (BLAS) is not used, so equal means
equal bits wherever the libraries have the versions that the epoch names.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from policies import state_sha256
from rankd.v1 import log_pb2 as pb
from server.fold.decide import Question, decide
from server.fold.fold import AppFold
from server.fold.interactions import slot_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rankd.v1 import internal_pb2
    from server.fold.records import LogRecord


class LogSource(Protocol):
    """A log that can be read more than once: a data folder or an export."""

    def apps(self) -> list[str]:
        """Names of the apps in it."""

    def base(self, app: str) -> internal_pb2.Checkpoint | None:
        """Where the fold has to start because earlier records were trimmed. None: at the beginning."""

    def records(self, after: int) -> Iterator[LogRecord]:
        """Records with sequence > after, in order."""

    def read(self, sequence: int) -> LogRecord:
        """One record again."""

    def artefact(self, sha256: str) -> bytes:
        """The policy state of that name."""

    def checkpoints(self, app: str) -> dict[int, str]:
        """Version -> sha256 of the policy state in every checkpoint that is kept beside the log."""


@dataclass
class Verification:
    """What was found for one app, or for several added up."""

    verified: int = 0
    unverifiable: int = 0
    mismatches: int = 0
    first_mismatch: str = ""
    states: dict[str, str] = field(default_factory=dict)  # app -> sha256 of its final policy state

    def mismatch(self, what: str) -> None:
        self.mismatches += 1
        self.first_mismatch = self.first_mismatch or what

    def __iadd__(self, other: Verification) -> Verification:
        self.verified += other.verified
        self.unverifiable += other.unverifiable
        self.mismatches += other.mismatches
        self.first_mismatch = self.first_mismatch or other.first_mismatch
        self.states |= other.states
        return self


def verify(source: LogSource) -> Verification:
    """Checks every decision of every app.

    Raises:
        LogError: the log cannot be folded at all.
    """
    result = Verification()
    for app in source.apps():
        result += verify_app(source, app)
    return result


def verify_app(source: LogSource, app: str) -> Verification:
    """Checks every decision of one app."""
    result = Verification()
    base = source.base(app)
    fold = AppFold(app, source.read, source.artefact)
    if base is not None:
        fold.restore(base)
    made_by = _decisions_by_version(source, app, fold.version, result)
    waiting = sorted(made_by, reverse=True)
    checkpoints = source.checkpoints(app)
    for record in source.records(fold.version):
        while waiting and waiting[-1] < record.sequence:
            _check(fold, source, made_by[waiting.pop()], result)
        fold.step(record)
        if checkpoints.get(record.sequence) and fold.model is not None:
            _check_state(fold, checkpoints[record.sequence], result)
    while waiting:
        _check(fold, source, made_by[waiting.pop()], result)
    if fold.model is not None:
        result.states[app] = state_sha256(fold.model.state())
    return result


def _decisions_by_version(
    source: LogSource, app: str, base: int, result: Verification
) -> dict[int, list[int]]:
    """Version -> sequences of the decisions that it made; counts those that are out of reach."""
    made_by: dict[int, list[int]] = defaultdict(list)
    for record in source.records(base):
        if record.kind != pb.KIND_DECISION or record.app != app:
            continue
        version = record.decision().model_version if not record.key_id else -1
        if version < base:
            result.unverifiable += 1
        else:
            made_by[version].append(record.sequence)
    return made_by


def _check(fold: AppFold, source: LogSource, decisions: list[int], result: Verification) -> None:
    """Makes the decisions again with the model as the fold has it now."""
    settings = fold.settings
    if settings is None or fold.model is None:
        for sequence in decisions:
            result.mismatch(f"decision {sequence} was made before the app had a model")
        return
    if not fold.faithful:
        result.unverifiable += len(decisions)
        return
    model = settings.spec().load(fold.model.state())
    for sequence in decisions:
        record = source.read(sequence)
        logged = record.decision()
        try:
            answer = decide(
                Question.of(logged),
                slot_names(logged),
                record.event_id,
                model,
                settings,
            )
        except (ValueError, IndexError) as error:
            result.mismatch(f"decision {record.decision_id} cannot be made at all: {error}")
            continue
        expected = (
            ("epoch", fold.epoch, logged.epoch),
            ("pmf", answer.pmf.tolist(), list(logged.pmf)),
            ("ranking", answer.ranking, list(logged.ranking)),
            ("slot_probabilities", answer.slot_probabilities, list(logged.slot_probabilities)),
            ("preferred", answer.preferred, logged.preferred),
            ("sampler", answer.sampler, logged.sampler),
            ("slot_pmfs", answer.slot_pmfs, list(logged.slot_pmfs)),
            ("base_probabilities", answer.base_probabilities, list(logged.base_probabilities)),
        )
        wrong = [
            f"{name} {theirs}, expected {ours}" for name, ours, theirs in expected if ours != theirs
        ]
        if wrong:
            result.mismatch(
                f"decision {record.decision_id} (event {record.event_id!r}, app {record.app!r}, "
                f"model version {logged.model_version}): {wrong[0]}"
            )
        else:
            result.verified += 1


def _check_state(fold: AppFold, sha256: str, result: Verification) -> None:
    assert fold.model is not None
    found = state_sha256(fold.model.reload().state())
    if fold.faithful and found != sha256:
        result.mismatch(
            f"the checkpoint of app {fold.app!r} at record {fold.version} holds state {sha256[:12]}, "
            f"the log makes {found[:12]}"
        )
