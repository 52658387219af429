"""A joiner that anybody can check by reading it: it keeps every record, and judges an event's whole story from its beginning.

Slow (quadratic) and forgetful of nothing: what `server.fold.joiner` does in one pass with an index must come out the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from server.fold.event import RewardEntry
from server.fold.joiner import Joined

if TYPE_CHECKING:
    from server.fold.event import Place
    from server.fold.joiner import JoinRules


@dataclass(frozen=True)
class Decided:
    """A Decision record."""

    place: Place
    origin_us: int
    slots: tuple[str, ...]
    deferred: bool

    @property
    def at(self) -> int:
        """Its sequence in the merged log, which is another than the journal's own number in `place`."""
        return 100 + self.place[1]


@dataclass(frozen=True)
class Activated:
    """An Activation record."""

    delivered: bool
    by_client: bool


Record: TypeAlias = Decided | Activated | RewardEntry


@dataclass
class Story:
    """All records of one event from the opening of its window to its closing."""

    deadline_us: int
    arrival: int
    records: list[Record] = field(default_factory=list)

    @property
    def decisions(self) -> list[Decided]:
        return [r for r in self.records if isinstance(r, Decided)]


@dataclass
class Verdict:
    """What a story comes to."""

    counters: Counter[str] = field(default_factory=Counter)
    learned: Joined | None = None
    over: bool = False  # learned at a record, before the window closed


def judge(records: list[Record], rules: JoinRules, closing: bool) -> Verdict:
    """The verdict on an event after these records, and after its window has closed if `closing`."""
    verdict = Verdict()
    for end in range(1, len(records) + 1):
        if rules.always_sent and not verdict.over:
            _judge_arrival(records[:end], rules, verdict)
    if closing and not verdict.over:
        _judge_closing(records, rules, verdict)
    kept, counters = _rewards(records, rules)
    verdict.counters += counters
    if closing and not any(isinstance(r, Decided) for r in records):
        verdict.counters["dangling_rewards"] = len(kept)
    return verdict


def _judge_arrival(records: list[Record], rules: JoinRules, verdict: Verdict) -> None:
    """Rewards are always sent: an event is over as soon as each slot has one and nothing speaks against it."""
    decisions = [r for r in records if isinstance(r, Decided)]
    if len(decisions) != 1 or not _shown(records, decisions[0].deferred):
        return
    by_slot = _by_slot(decisions[0], _rewards(records, rules)[0])
    if all(by_slot.values()):
        verdict.over = True
        verdict.counters["matured"] += 1
        values = {slot: _one(rewards, rules.aggregation) for slot, rewards in by_slot.items()}
        verdict.learned = Joined(decisions[0].at, values)


def _judge_closing(records: list[Record], rules: JoinRules, verdict: Verdict) -> None:
    decisions = [r for r in records if isinstance(r, Decided)]
    if not decisions:
        return
    first = decisions[0]
    if not _shown(records, first.deferred):
        verdict.counters["not_activated" if first.deferred else "undelivered"] += 1
        return
    kept = _rewards(records, rules)[0]
    at = first.at
    if len(decisions) > 1:
        named = {r.shown for r in kept} & {d.place for d in decisions}
        if len(named) != 1:
            verdict.counters["void"] += 1
            return
        (at,) = (d.at for d in decisions if d.place in named)
    verdict.counters["matured"] += 1
    values = {}
    for slot, rewards in _by_slot(first, kept).items():
        if rewards:
            values[slot] = _one(rewards, rules.aggregation)
        elif rules.always_sent:
            verdict.counters["unrewarded"] += 1
        else:
            verdict.counters["defaulted"] += 1
            values[slot] = rules.default
    verdict.learned = Joined(at, values)


def _shown(records: list[Record], deferred: bool) -> bool:
    """Whether somebody saw the decision, as far as the log knows."""
    activations = [r for r in records if isinstance(r, Activated)]
    if any(a.delivered and (a.by_client or not deferred) for a in activations):
        return True
    return not deferred and all(a.delivered for a in activations)


def _rewards(records: list[Record], rules: JoinRules) -> tuple[list[RewardEntry], Counter[str]]:
    """Those that count for the event, and what became of each."""
    counters: Counter[str] = Counter()
    decision: Decided | None = None
    kept: list[RewardEntry] = []

    def in_window(reward: RewardEntry) -> bool:
        assert decision is not None
        return reward.origin_us - decision.origin_us <= rules.wait_us + rules.skew_us

    for i, record in enumerate(records):
        if isinstance(record, Decided):
            counters["decisions"] += 1
            if decision is None:
                decision = record
                early, kept = kept, [r for r in kept if in_window(r)]
                counters["joined"] += len(kept)
                counters["late_rewards"] += len(early) - len(kept)
        elif not isinstance(record, Activated):
            counters["rewards"] += 1
            over = rules.always_sent and judge(records[:i], rules, closing=False).over
            if any(record.reward_key == r.reward_key for r in kept):
                counters["duplicate_rewards"] += 1
            elif over or (decision is not None and not in_window(record)):
                counters["late_rewards"] += 1
            else:
                kept.append(record)
                counters["joined"] += decision is not None
    return kept, counters


def _by_slot(decision: Decided, rewards: list[RewardEntry]) -> dict[int, list[RewardEntry]]:
    slots = decision.slots or ("",)
    return {
        i: [r for r in rewards if r.slot == slot or (i == 0 and not r.slot)]
        for i, slot in enumerate(slots)
    }


def _one(rewards: list[RewardEntry], how: str) -> float:
    in_time = sorted(rewards, key=lambda r: r.origin_us)  # stable: ties stay in log order
    values = [r.value for r in rewards]
    return {
        "earliest": in_time[0].value,
        "last": [r for r in in_time if r.origin_us == in_time[-1].origin_us][-1].value,
        "max": max(values),
        "sum": sum(values),
        "mean": sum(values) / len(values),
    }[how]


class ReferenceJoiner:
    """Same questions, same answers as `server.fold.joiner.Joiner`."""

    def __init__(self, rules: JoinRules) -> None:
        self.rules = rules
        self.stories: dict[bytes, Story] = {}
        self.past: dict[bytes, Story] = {}  # decisions whose window has passed, for another window
        self.ended: Counter[str] = Counter()  # of stories that are over
        self.arrivals = 0

    def take(self, key: bytes, record: Record, now_us: int) -> list[Joined]:
        """A record; returns what became final with it."""
        if key in self.past:
            self._too_late(self.past[key], record)
            return []
        story = self.stories.get(key)
        if story is None:
            story = self.stories[key] = Story(0, 0)
            self._open(story, now_us)
        elif isinstance(record, Decided) and not story.decisions:
            self._open(story, now_us)  # what came before it does not shorten its window
        before = judge(story.records, self.rules, closing=False)
        story.records.append(record)
        after = judge(story.records, self.rules, closing=False)
        return [after.learned] if after.learned and not before.over else []

    def _open(self, story: Story, now_us: int) -> None:
        self.arrivals += 1
        story.arrival = self.arrivals
        story.deadline_us = now_us + self.rules.wait_us + self.rules.lateness_us

    def _too_late(self, story: Story, record: Record) -> None:
        if isinstance(record, Decided):
            self.ended["decisions"] += 1
        elif isinstance(record, RewardEntry):
            self.ended["rewards"] += 1
            known = {r.reward_key for r in _rewards(story.records, self.rules)[0]}
            double = record.reward_key in known
            self.ended["duplicate_rewards" if double else "late_rewards"] += 1

    def close_due(self, now_us: int) -> list[Joined]:
        due = [
            (s.deadline_us, s.arrival, k)
            for k, s in (*self.stories.items(), *self.past.items())
            if s.deadline_us <= now_us
        ]
        learned = []
        for _, _, key in sorted(due):
            if self.past.pop(key, None):
                continue
            story = self.stories.pop(key)
            if story.decisions:
                self.past[key] = story
                self._open(story, now_us)
            before = judge(story.records, self.rules, closing=False)
            verdict = judge(story.records, self.rules, closing=True)
            self.ended += verdict.counters
            if verdict.learned and not before.over:
                learned.append(verdict.learned)
        return learned

    @property
    def counters(self) -> Counter[str]:
        running = (judge(s.records, self.rules, closing=False) for s in self.stories.values())
        return sum((verdict.counters for verdict in running), self.ended)

    @property
    def open(self) -> int:
        """Decisions whose window is open."""
        return sum(
            bool(s.decisions) and not judge(s.records, self.rules, closing=False).over
            for s in self.stories.values()
        )
