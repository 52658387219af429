"""Whether a log is whole, its probabilities are true, and its rewards find their decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rankd.commands.check import Check
from rankd.commands.propensities import Propensities
from rankd.commands.sources import note_if_cut, open_logs
from rankd.v1 import log_pb2 as pb
from server.exports.jsonl import ExportSource, starts_after
from server.fold.joined import JoinFold
from server.fold.records import LogError
from server.fold.verify import verify_app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.fold.records import LogRecord
    from server.fold.verify import LogSource

# Share of rewards that may be late or dangling. What is lost is learned as the default reward, so the error of
# a mean may be this share of the reward range.
_MOST_LOST = 0.05
# Share of rewards that may be repetitions. They count once; more of them mean a client that retries what was answered.
_MOST_DUPLICATES = 0.1
# Share of deferred decisions that may never be activated: beyond it, what is learned is the smaller, chosen part.
_MOST_NOT_ACTIVATED = 0.5


@dataclass(slots=True)
class _Reading:
    """What one pass over the records finds; the first fault of each kind, in words."""

    after: int
    contiguous: bool  # False: an export of one app, whose records need not follow each other
    records: int = 0
    hole: str = ""
    fall: str = ""
    fault: str = ""
    last: LogRecord | None = None
    chains: dict[tuple[str, int], int] = field(
        default_factory=dict
    )  # (folder, partition) -> its last number
    decisions: dict[str, int] = field(default_factory=dict)  # app -> count; likewise below
    deferred: dict[str, int] = field(default_factory=dict)
    propensities: dict[str, Propensities] = field(default_factory=dict)

    def take(self, record: LogRecord) -> None:
        before, self.last = self.last, record
        self.records += 1
        shared = record.number or not record.node
        if shared:
            self._follow_chain(record)
        if before is not None:
            previous = record.sequence - 1 if shared else record.previous
            if self.contiguous and previous != before.sequence:
                self.hole = self.hole or (
                    f"record {record.sequence} follows {previous}, but {before.sequence} is before it"
                )
            if record.log_time_us < before.log_time_us:
                self.fall = self.fall or (
                    f"record {record.sequence} is stamped {before.log_time_us - record.log_time_us} us "
                    "before the record that it follows"
                )
        if record.kind == pb.KIND_DECISION and not record.key_id:
            self._decision(record)

    def _follow_chain(self, record: LogRecord) -> None:
        """What one of several journals wrote follows what it wrote before."""
        if not record.number:
            return  # another producer's
        chain = (record.folder, record.partition)
        before = self.chains.get(chain, record.previous)
        if record.previous != before:
            self.hole = self.hole or (
                f"record {record.sequence}: journal {record.folder} goes on with {record.number} after "
                f"{record.previous}, but {before} is before it"
            )
        self.chains[chain] = record.number

    def _decision(self, record: LogRecord) -> None:
        decision, app = record.decision(), record.app
        self.decisions[app] = self.decisions.get(app, 0) + 1
        self.deferred[app] = self.deferred.get(app, 0) + decision.defer_activation
        wrong = self.propensities.setdefault(app, Propensities()).add(decision)
        if wrong and not self.fault:
            self.fault = f"decision {record.decision_id} (event {record.event_id!r}): {wrong}"


def check_log(path: str, app: str | None) -> Iterator[Check]:
    """Every check, in order, of every log that is there."""
    with open_logs(path, app) as logs:
        for log in logs:
            yield from _check(log, log.apps() if app is None else [app], path)


def _check(source: LogSource, apps: list[str], path: str) -> Iterator[Check]:
    yield Check("opens", bool(apps), f"{path}, with app {', '.join(apps) or '(none)'}")
    if not apps:
        return
    try:
        reading = _read(source, apps)
    except LogError as error:
        yield Check("no holes", False, str(error))
        return
    note_if_cut(source)
    yield from _structure(reading)
    for name in apps:
        yield from _draws(name, reading.propensities.get(name, Propensities()))
        yield from _joins(source, name, reading)
        yield _verified(source, name)


def _read(source: LogSource, apps: list[str]) -> _Reading:
    after = starts_after(source, apps)
    reading = _Reading(after, contiguous=not (isinstance(source, ExportSource) and source.filtered))
    for record in source.records(after):
        reading.take(record)
    return reading


def _structure(reading: _Reading) -> Iterator[Check]:
    last = reading.last.sequence if reading.last else reading.after
    whole = f"{reading.records:,} records, {reading.after + 1} to {last}"
    yield Check("no holes", not reading.hole, reading.hole or whole)
    yield Check("time", not reading.fall, reading.fall or "log time never falls")
    told = f"{sum(reading.decisions.values()):,} decisions: every pmf sums to 1 and allows what was chosen"
    yield Check("probabilities", not reading.fault, reading.fault or told)


def _draws(app: str, seen: Propensities) -> Iterator[Check]:
    weight = seen.weight
    yield Check(
        f"{app} mean weight",
        not weight.too_far(1),
        f"{seen.mean_weight:.4f} over {seen.decisions:,} decisions, z {weight.z:+.2f}: it must be near 1",
    )
    worst = seen.worst()
    if worst is None:
        yield Check(f"{app} draws", True, "no decisions yet")
        return
    tests = len(seen.actions)
    far = [name for name, drift in seen.actions.items() if drift.too_far(tests)]
    name, drift = worst
    said = f"{tests:,} actions drawn as often as their probabilities say; the furthest is {name!r}, z {drift.z:+.2f}"
    if far:
        said = (
            f"action {far[0]!r} was drawn {seen.actions[far[0]].total:+.0f} times more than its "
            f"probabilities say (z {seen.actions[far[0]].z:+.2f}); {len(far)} of {tests} actions are off"
        )
    yield Check(f"{app} draws", not far, said)


def _joins(source: LogSource, app: str, reading: _Reading) -> Iterator[Check]:
    fold = JoinFold(source, app)
    try:
        for _ in fold.rows():
            pass
    except LogError as error:
        yield Check(f"{app} joins", False, str(error))
        return
    counters: Mapping[str, int] = fold.joiner.counters if fold.joiner else {}
    rewards = counters.get("rewards", 0)
    joined, late, dangling, duplicates = (
        counters.get(name, 0)
        for name in ("joined", "late_rewards", "dangling_rewards", "duplicate_rewards")
    )
    lost = late + dangling
    yield Check(
        f"{app} joins",
        lost <= _MOST_LOST * rewards,
        f"{_share(joined, rewards)} of {rewards:,} rewards joined, {_share(dangling, rewards)} dangling, "
        f"{_share(late, rewards)} late",
    )
    yield Check(
        f"{app} duplicates",
        duplicates <= _MOST_DUPLICATES * rewards,
        f"{_share(duplicates, rewards)} of rewards came again with their reward_id",
    )
    deferred, missing = reading.deferred.get(app, 0), counters.get("not_activated", 0)
    yield Check(
        f"{app} deferred",
        missing <= _MOST_NOT_ACTIVATED * deferred,
        f"{_share(deferred, reading.decisions.get(app, 0))} of decisions deferred, "
        f"{_share(missing, deferred)} of those never activated",
    )


def _verified(source: LogSource, app: str) -> Check:
    try:
        result = verify_app(source, app)
    except LogError as error:
        return Check(f"{app} verify", False, str(error))
    counts = f"verified {result.verified}, unverifiable {result.unverifiable}, mismatches {result.mismatches}"
    first = f"; the first: {result.first_mismatch}" if result.mismatches else ""
    return Check(f"{app} verify", not result.mismatches, counts + first)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0%"
