"""Joins decisions with their rewards, in log order. Knows events by key and position only; payloads stay in the log.

An event's window opens with its Decision and closes `wait` + `lateness` of running time later (log clock). Whether a
reward is inside it is told by origin stamps: reward - decision <= wait + skew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from server.fold.event import Event, Place, RewardEntry, origin, pending_at, rewards_in
from server.fold.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    """The joiner of one app. Each method takes the running time `now_us` and gives what it made final."""

    def __init__(self, rules: JoinRules) -> None:
        self.rules = rules
        self.windows = Windows()
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.open = 0  # events with a decision whose window is open

    def close_due(self, now_us: int) -> Iterator[Joined]:
        """Closes every window whose deadline has passed, oldest first."""
        while (due := self.windows.take_due(now_us)) is not None:
            key, event = due
            if not event.at:
                self.windows.drop(key)
                self.counters["dangling_rewards"] += len(list(rewards_in(event.rewards)))
                continue
            joined = None
            if not event.closed:
                self.open -= 1
                joined = self._close(event)
            event.closed = event.over = True
            self._open_window(key, event, now_us)  # kept for another: what comes now is late
            self.windows.put(key, event)
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
    ) -> Iterable[Joined]:
        """A Decision record."""
        self.counters["decisions"] += 1
        event = self.windows.get(key)
        if event is None:  # as most are: nothing came before, and nothing can be final
            event = Event(0, 0, at, *place, origin_us, slots, deferred)
            self.open += 1
            self._open_window(key, event, now_us)
            self.windows.put(key, event)
            return ()
        if event.closed:
            return ()
        if event.at:
            event.rivals = (*event.rivals, (place, at))
            self.windows.put(key, event)
            return ()
        self.open += 1
        self._open_window(key, event, now_us)  # anew, as rewards came first
        (event.node, event.number), event.at = place, at
        event.origin_us, event.slots, event.deferred = origin_us, slots, deferred
        if event.rewards:
            early, event.rewards = event.rewards, b""
            for reward in rewards_in(early):
                self._keep(event, reward)
        return self._settle(key, event)

    def reward(self, key: bytes, reward: RewardEntry, now_us: int) -> Iterable[Joined]:
        """A Reward record."""
        self.counters["rewards"] += 1
        if not self.rules.always_sent and self._add(key, reward):
            return ()
        event = self._event(key, now_us)
        if event.has(reward.reward_key):
            self.counters["duplicate_rewards"] += 1
        elif event.closed:
            self.counters["late_rewards"] += 1
        else:
            if event.at:
                self._keep(event, reward)
            else:
                event.rewards += reward.to_bytes()
            return self._settle(key, event)
        return ()

    def _add(self, key: bytes, reward: RewardEntry) -> bool:
        """Adds a reward to a decision that is at rest, and leaves it there; False, and nothing is done, where more may be to do."""
        data = self.windows.events.get(key)
        if data is None or reward.reward_key in data or not pending_at(data):
            return False
        if self._in_time(reward, origin(data)):
            self.windows.events[key] = data + reward.to_bytes()  # rewards come last
        return True

    def activation(
        self, key: bytes, delivered: bool, by_client: bool, now_us: int
    ) -> Iterable[Joined]:
        """An Activation record: shown (by the client's word or a retry's answer), or known undelivered.

        Having been delivered once outweighs any number of failed deliveries, in whatever order they are logged.
        """
        event = self._event(key, now_us)
        if event.closed:
            return ()
        if not delivered:
            event.undelivered = True
        elif by_client or not event.deferred:
            event.activated = True
        return self._settle(key, event)

    def due(self, now_us: int) -> bool:
        """Whether `close_due` may have something to close."""
        return now_us >= self.windows.due_us

    def _event(self, key: bytes, now_us: int) -> Event:
        event = self.windows.get(key)
        if event is None:
            event = Event()
            self._open_window(key, event, now_us)
        return event

    def _open_window(self, key: bytes, event: Event, now_us: int) -> None:
        self.windows.open(key, event, now_us + self.rules.wait_us + self.rules.lateness_us)

    def _keep(self, event: Event, reward: RewardEntry) -> None:
        if self._in_time(reward, event.origin_us):
            event.rewards += reward.to_bytes()

    def _in_time(self, reward: RewardEntry, origin_us: int) -> bool:
        """Whether it came within its decision's window; counts it."""
        joined = reward.origin_us - origin_us <= self.rules.wait_us + self.rules.skew_us
        self.counters["joined" if joined else "late_rewards"] += 1
        return joined

    def _settle(self, key: bytes, event: Event) -> Iterable[Joined]:
        """Keeps the event. Where rewards are always sent: final as soon as every slot has one."""
        joined: Iterable[Joined] = ()
        if self.rules.always_sent and event.at and not event.rivals and self._learnable(event):
            by_slot = self._by_slot(event)
            if len(by_slot) == max(1, len(event.slots)):
                joined = (self._matured(event, event.at, by_slot),)
                self.open -= 1
                event.closed = True
        self.windows.put(key, event)
        return joined

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
        return self._matured(event, at, self._by_slot(event))

    def _matured(self, event: Event, at: int, by_slot: dict[int, list[RewardEntry]]) -> Joined:
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
        named = {reward.shown for reward in rewards_in(event.rewards)} & known.keys()
        return known[named.pop()] if len(named) == 1 else None

    @staticmethod
    def _by_slot(event: Event) -> dict[int, list[RewardEntry]]:
        """Rewards by slot number. No slot means the first; a slot that the decision has not is nobody's."""
        if not event.slots:
            own = [reward for reward in rewards_in(event.rewards) if not reward.slot]
            return {0: own} if own else {}
        numbers = {slot: i for i, slot in enumerate(event.slots)}
        by_slot: dict[int, list[RewardEntry]] = {}
        for reward in rewards_in(event.rewards):
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
