"""Whether a log is whole, its probabilities are true, and its rewards find their decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING

from rankd.commands.check import (
    MOST_DUPLICATES,
    MOST_LOST,
    MOST_UNREWARDED,
    Check,
    not_activated,
    share,
)
from rankd.commands.check_propensities import draws, overlap
from rankd.commands.sources import note_if_cut, open_logs
from rankd.v1 import log_pb2 as pb
from server.exports.jsonl import ExportSource, starts_after
from server.fold.joined import JoinFold
from server.fold.records import LogError
from server.fold.verify import verify_app
from simulator.propensities import Propensities
from simulator.support import Support

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.fold.records import LogRecord
    from server.fold.verify import LogSource

# Probabilities sum to 1 within this: 1,000 actions times 2^-53, and room for ten roundings each.
_SUM_TOLERANCE = 1e-12


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
    support: dict[str, Support] = field(default_factory=dict)  # of decisions that explored

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
        wrong = _wrong(decision)
        if wrong:
            self.fault = (
                self.fault or f"decision {record.decision_id} (event {record.event_id!r}): {wrong}"
            )
            return
        pmf, chosen = list(decision.pmf), decision.ranking[0]
        self.propensities.setdefault(app, Propensities()).add(pmf, decision.action_ids, chosen)
        if decision.mode == pb.MODE_ONLINE:
            excluded = set(decision.excluded_ids)
            left = [
                (name, p)
                for name, p in zip(decision.action_ids, pmf, strict=True)
                if name not in excluded
            ]
            self.support.setdefault(app, Support()).add([p for _, p in left], [n for n, _ in left])


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
        yield from draws(f"{name} ", reading.propensities.get(name, Propensities()))
        yield _overlap(name, reading)
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


def _overlap(app: str, reading: _Reading) -> Check:
    explored = reading.support.get(app)
    if explored is not None:
        return overlap(f"{app} ", explored)
    if not reading.decisions.get(app, 0):
        return Check(f"{app} overlap", True, "no decisions yet")
    return Check(
        f"{app} overlap", True, "no decision in mode online: the log can value only the baseline"
    )


def _joins(source: LogSource, app: str, reading: _Reading) -> Iterator[Check]:
    fold = JoinFold(source, app)
    matured = 0
    try:
        for _ in fold.rows():
            matured += 1
    except LogError as error:
        yield Check(f"{app} joins", False, str(error))
        return
    counters: Mapping[str, int] = fold.joiner.counters if fold.joiner else {}
    waiting = fold.joiner.open if fold.joiner else 0
    rewards = counters.get("rewards", 0)
    joined, late, dangling, duplicates = (
        counters.get(name, 0)
        for name in ("joined", "late_rewards", "dangling_rewards", "duplicate_rewards")
    )
    lost = late + dangling
    yield Check(
        f"{app} joins",
        lost <= MOST_LOST * rewards,
        f"{share(joined, rewards)} of {rewards:,} rewards joined, {share(dangling, rewards)} dangling, "
        f"{share(late, rewards)} late",
    )
    yield Check(
        f"{app} duplicates",
        duplicates <= MOST_DUPLICATES * rewards,
        f"{share(duplicates, rewards)} of rewards came again with their reward_id",
    )
    never = sum(counters.get(name, 0) for name in ("void", "undelivered"))
    yield Check(
        f"{app} rewards",
        never <= MOST_UNREWARDED * (matured + never),
        f"{matured:,} decisions have their final reward, {waiting:,} still wait for it; "
        f"{share(never, matured + never)} of the others will never have one (void, or not delivered)",
    )
    asked, deferred = reading.decisions.get(app, 0), reading.deferred.get(app, 0)
    missing = counters.get("not_activated", 0)
    said = f", {share(missing, deferred)} of those that were deferred" if missing else ""
    yield not_activated(f"{app} ", missing, asked, said)


def _verified(source: LogSource, app: str) -> Check:
    try:
        result = verify_app(source, app)
    except LogError as error:
        return Check(f"{app} verify", False, str(error))
    counts = f"verified {result.verified}, unverifiable {result.unverifiable}, mismatches {result.mismatches}"
    first = f"; the first: {result.first_mismatch}" if result.mismatches else ""
    return Check(f"{app} verify", not result.mismatches, counts + first)


def _wrong(decision: pb.Decision) -> str:
    """What is wrong with its probabilities, or nothing."""
    pmf, ids = list(decision.pmf), list(decision.action_ids)
    if len(pmf) != len(ids) or not decision.ranking or decision.ranking[0] >= len(ids):
        return f"{len(pmf)} probabilities and {len(decision.ranking)} ranks for {len(ids)} actions"
    total = fsum(pmf)
    if not abs(total - 1) <= _SUM_TOLERANCE:
        return f"its probabilities sum to {total!r}"
    if not min(pmf) >= 0:
        return f"a probability of {min(pmf)!r}"
    if not pmf[decision.ranking[0]] > 0:
        return "what was chosen has probability 0"
    if any(p > 0 for name, p in zip(ids, pmf, strict=True) if name in set(decision.excluded_ids)):
        return "an excluded action has a probability"
    if not all(0 < p <= 1 for p in decision.slot_probabilities):
        return "a slot's probability is not in (0, 1]"
    return ""
