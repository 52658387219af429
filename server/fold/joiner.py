"""Joins decisions with their rewards, in log order. Knows events by key and position only; payloads stay in the log.

An event's window opens with its Decision and closes `wait` + `lateness` of running time later (log clock). Whether a
reward is inside it is told by origin stamps: reward - decision <= wait + skew.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Aggregation = Literal["earliest", "sum", "max", "mean", "last"]

COUNTERS = (
    "decisions",  # Decision records
    "rewards",  # Reward records
    "joined",  # rewards that took part in an interaction or wait to
    "duplicate_rewards",  # same reward_id as before, for the same event
    "late_rewards",  # outside their window
    "out_of_range",  # beyond the app's reward range, from a producer that no server could refuse
    "dangling_rewards",  # no decision came within a window
    "matured",  # decisions whose window closed to be learned
    "defaulted",  # of these, slots that got the default reward
    "unrewarded",  # slots of an always_sent app that closed without their reward
    "not_activated",  # deferred decisions that closed without Activate
    "undelivered",  # decisions whose reply never reached the client
    "void",  # events with differing decisions and no reward that tells which was shown
)


Place = tuple[str, int]
"""(node, the journal's own number) of a Decision record: a decision_id, taken apart."""


@dataclass(slots=True)
class RewardEntry:
    """One reward that waits for its window to close."""

    reward_key: bytes  # 16 bytes, stands for the reward_id
    slot: str
    value: float
    origin_us: int
    shown: Place | None  # the decision that the client says was shown


@dataclass(slots=True)
class Event:
    """One event in its window. Before its decision it only has early rewards and activations.

    A million of them may be pending, so there is one object for each, and lists only where something is in them.
    """

    deadline_us: int  # running time at which it closes
    arrival: int  # breaks ties between deadlines
    at: int = 0  # sequence of the decision's record; 0: none has come yet
    node: str = ""  # with number, the decision's place
    number: int = 0
    origin_us: int = 0
    slots: tuple[str, ...] = ()
    deferred: bool = False
    activated: bool = False
    undelivered: bool = False
    closed: bool = False  # judged; kept to tell late and duplicate rewards
    over: bool = False  # its window has passed, and it is kept for another one
    rivals: Sequence[tuple[Place, int]] = ()  # further decisions that differ, and their sequences
    rewards: Sequence[RewardEntry] = ()

    def add(self, reward: RewardEntry) -> None:
        """Most events have one reward, so that is the smallest that Python has; many are a list."""
        if isinstance(self.rewards, list):
            self.rewards.append(reward)
        else:
            self.rewards = [*self.rewards, reward] if self.rewards else (reward,)


@dataclass(frozen=True, slots=True)
class Joined:
    """A decision whose final rewards are known: slot number -> reward, defaults filled in."""

    at: int  # sequence of the Decision's record
    rewards: dict[int, float]


@dataclass(frozen=True, slots=True)
class JoinRules:
    """The part of an app's settings that joining depends on."""

    wait_us: int
    lateness_us: int  # how much longer a window stays open for records that are under way
    skew_us: int  # by how much the clocks of two servers may differ
    aggregation: Aggregation
    default: float
    always_sent: bool


class Joiner:
    """The joiner of one app. Each method takes the running time `now_us` and yields what it made final."""

    def __init__(self, rules: JoinRules) -> None:
        self.rules = rules
        self.events: dict[bytes, Event] = {}
        self.deadlines: list[
            tuple[int, int, bytes]
        ] = []  # heap of (deadline, order of arrival, key)
        self.arrivals = 0
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.open = 0  # events with a decision whose window is open

    def close_due(self, now_us: int) -> Iterator[Joined]:
        """Closes every window whose deadline has passed, oldest first."""
        while self.deadlines and self.deadlines[0][0] <= now_us:
            _, arrival, key = heapq.heappop(self.deadlines)
            event = self.events.get(key)
            if event is None or event.arrival != arrival:
                continue  # its window was opened anew by its decision
            if event.over or not event.at:
                del self.events[key]
                if not event.at:
                    self.counters["dangling_rewards"] += len(event.rewards)
                continue
            joined = None
            if not event.closed:
                self.open -= 1
                joined = self._close(event)
            event.closed = event.over = True
            self._open_window(key, event, now_us)  # kept for another: what comes now is late
            if joined is not None:
                yield joined

    def decision(
        self,
        key: bytes,
        place: Place,
        at: int,
        origin_us: int,
        slots: tuple[str, ...],
        deferred: bool,
        now_us: int,
    ) -> Iterator[Joined]:
        """A Decision record."""
        self.counters["decisions"] += 1
        event = self._event(key, now_us)
        if event.closed:
            return
        if event.at:
            event.rivals = [*event.rivals, (place, at)]
            return
        self.open += 1
        if event.rewards or event.activated or event.undelivered:
            self._open_window(key, event, now_us)  # they came first
        (event.node, event.number), event.at = place, at
        event.origin_us, event.slots, event.deferred = origin_us, slots, deferred
        early, event.rewards = event.rewards, ()
        for reward in early:
            self._keep(event, reward)
        yield from self._on_arrival(event)

    def reward(self, key: bytes, reward: RewardEntry, now_us: int) -> Iterator[Joined]:
        """A Reward record."""
        self.counters["rewards"] += 1
        event = self._event(key, now_us)
        if any(reward.reward_key == other.reward_key for other in event.rewards):
            self.counters["duplicate_rewards"] += 1
        elif event.closed:
            self.counters["late_rewards"] += 1
        elif not event.at:
            event.add(reward)
        else:
            self._keep(event, reward)
            yield from self._on_arrival(event)

    def activation(
        self, key: bytes, delivered: bool, by_client: bool, now_us: int
    ) -> Iterator[Joined]:
        """An Activation record: shown (by the client's word or a retry's answer), or known undelivered.

        Having been delivered once outweighs any number of failed deliveries, in whatever order they are logged.
        """
        event = self._event(key, now_us)
        if event.closed:
            return
        if not delivered:
            event.undelivered = True
        elif by_client or not event.deferred:
            event.activated = True
        if event.at:
            yield from self._on_arrival(event)

    def _event(self, key: bytes, now_us: int) -> Event:
        event = self.events.get(key)
        if event is None:
            event = self.events[key] = Event(0, 0)
            self._open_window(key, event, now_us)
        return event

    def _open_window(self, key: bytes, event: Event, now_us: int) -> None:
        self.arrivals += 1
        event.arrival = self.arrivals
        event.deadline_us = now_us + self.rules.wait_us + self.rules.lateness_us
        heapq.heappush(self.deadlines, (event.deadline_us, event.arrival, key))

    def _keep(self, event: Event, reward: RewardEntry) -> None:
        if reward.origin_us - event.origin_us > self.rules.wait_us + self.rules.skew_us:
            self.counters["late_rewards"] += 1
        else:
            self.counters["joined"] += 1
            event.add(reward)

    def _on_arrival(self, event: Event) -> Iterator[Joined]:
        """Where rewards are always sent: final as soon as every slot has one."""
        if not self.rules.always_sent or event.rivals:
            return
        if not self._learnable(event) or len(self._by_slot(event)) < max(1, len(event.slots)):
            return
        joined = self._close(event)
        self.open -= 1
        event.closed = True
        if joined is not None:
            yield joined

    @staticmethod
    def _learnable(event: Event) -> bool:
        return event.activated or not (event.deferred or event.undelivered)

    def _close(self, event: Event) -> Joined | None:
        """The event's final rewards, or None where it is not to be learned."""
        if not self._learnable(event):
            self.counters["not_activated" if event.deferred else "undelivered"] += 1
            return None
        at = self._which(event)
        if at is None:
            self.counters["void"] += 1
            return None
        by_slot = self._by_slot(event)
        rewards = {}
        for slot in range(max(1, len(event.slots))):
            if slot in by_slot:
                rewards[slot] = _aggregate(by_slot[slot], self.rules.aggregation)
            elif self.rules.always_sent:
                self.counters["unrewarded"] += 1
            else:
                self.counters["defaulted"] += 1
                rewards[slot] = self.rules.default
        self.counters["matured"] += 1
        return Joined(at, rewards)

    @staticmethod
    def _which(event: Event) -> int | None:
        """The decision that was shown, by its sequence; where several differ, the one that the rewards name."""
        if not event.rivals:
            return event.at
        known: dict[Place | None, int] = {
            (event.node, event.number): event.at,
            **dict(event.rivals),
        }
        named = {reward.shown for reward in event.rewards} & known.keys()
        return known[named.pop()] if len(named) == 1 else None

    @staticmethod
    def _by_slot(event: Event) -> dict[int, list[RewardEntry]]:
        """Rewards by slot number. No slot means the first; a slot that the decision has not is nobody's."""
        numbers = {slot: i for i, slot in enumerate(event.slots)}
        by_slot: dict[int, list[RewardEntry]] = {}
        for reward in event.rewards:
            number = numbers.get(reward.slot) if reward.slot else 0
            if number is not None:
                by_slot.setdefault(number, []).append(reward)
        return by_slot


def _aggregate(rewards: list[RewardEntry], how: Aggregation) -> float:
    """One value of several; `earliest` and `last` go by origin stamps, ties by log order."""
    if how == "earliest":
        return min(rewards, key=lambda r: r.origin_us).value
    if how == "last":
        return max(reversed(rewards), key=lambda r: r.origin_us).value
    if how == "max":
        return max(r.value for r in rewards)
    total = 0.0
    for reward in rewards:  # left to right: the order of the log
        total += reward.value
    return total / len(rewards) if how == "mean" else total
