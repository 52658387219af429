"""Rewards that come twice, late, before their decision, and in the wrong order."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from rankd import Client
from rankd.v1 import log_pb2 as pb
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, TOPIC, Cluster
from tests.faults.load import ACTIONS, Load
from tests.faults.producer import json_reward, produce
from tests.faults.topic import Merged, read_topic
from tests.server.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rankd import Decision

_WAIT, _SKEW = 2.0, 0.5
# A default that no reward has tells what was learned without one. The earliest of several rewards counts, by the time at
# which it was observed. The window stays open long enough for a slow machine.
SETTINGS = {
    "apps": {
        APP: {
            "reward": {
                "min": -1,
                "default": -1,
                "always_sent": False,
                "wait": f"{_WAIT:g}s",
                "aggregation": "earliest",
            }
        }
    },
    "log": {"lateness": "4s", "skew": f"{_SKEW:g}s"},
}
# Events of each kind in a round.
_EVENTS = 5


class _Events:
    """Decisions, and what must be learned of each."""

    def __init__(self, cluster: Cluster, clients: list[Client], rng: random.Random) -> None:
        self.cluster, self.clients, self._rng = cluster, clients, rng
        self.expected: dict[str, float] = {}
        self.counters = dict.fromkeys(("duplicate_rewards", "late_rewards", "dangling_rewards"), 0)
        self.rewards = 0

    def rank(self, event_id: str, learned: float, client: Client | None = None) -> Decision:
        self.expected[event_id] = learned
        context = {"x": self._rng.gauss(0, 1)}
        return (client or self.any()).rank(context, list(ACTIONS), event_id=event_id)

    def any(self) -> Client:
        return self._rng.choice(self.clients)

    def reward(
        self,
        decision: Decision | str,
        value: float,
        name: str,
        client: Client | None = None,
        age: float = 0.0,
    ) -> None:
        (client or self.any()).reward(decision, value, reward_id=name, age=age)
        self.rewards += 1

    def outside(self, rewards: dict[str, bytes]) -> None:
        """Event id -> the message of a producer that is none of ours."""
        self.rewards += produce(self.cluster.kafka.bootstrap, TOPIC, rewards.items())

    # -- what may happen to rewards ----------------------------------------------------------------

    def twice(self, ids: list[str]) -> None:
        """By way of both servers, and by a producer: it counts once."""
        for event_id in ids:
            decision = self.rank(event_id, 0.5)
            for client in (self.clients[0], *self.clients):
                self.reward(decision, 0.5, "r", client)
        self.outside({event_id: json_reward(event_id, 0.5, "r") for event_id in ids})
        self.counters["duplicate_rewards"] += (len(self.clients) + 1) * len(ids)

    def too_late(self, ids: list[str]) -> None:
        """Observed after the window, though it arrives while that is still open."""
        for event_id in ids:
            self.rank(event_id, -1.0)
        observed = round(1000 * (time.time() + _WAIT + _SKEW + 1.0))
        self.outside({each: json_reward(each, 1.0, "r", time_ms=observed) for each in ids})
        self.counters["late_rewards"] += len(ids)

    def early(self, ids: list[str]) -> None:
        """In the topic before anybody was asked."""
        self.outside({event_id: json_reward(event_id, 0.25, "r") for event_id in ids})
        for event_id in ids:
            self.rank(event_id, 0.25)

    def early_by_a_server(self, ids: list[str]) -> None:
        for event_id in ids:
            self.reward(event_id, 0.75, "r", self.clients[1])
            self.rank(event_id, 0.75, self.clients[0])

    def out_of_order(self, ids: list[str]) -> None:
        """The one that was observed first comes last, by way of the other server."""
        for event_id in ids:
            decision = self.rank(event_id, 0.125)
            self.reward(decision, 1.0, "second", self.clients[0])
            self.reward(decision, 0.125, "first", self.clients[1], age=60.0)

    def of_no_decision(self, ids: list[str]) -> None:
        for event_id in ids:
            self.reward(event_id, 1.0, "r")
        self.counters["dangling_rewards"] += len(ids)


def rewards(folder: Path, rounds: int, seed: int) -> Outcome:
    """Duplicates count once, late ones are counted and not learned, early and disordered ones are joined."""
    with Cluster(folder, SETTINGS) as cluster:
        clients = [
            Client(f"127.0.0.1:{server.port}", timeout=30, attempt_timeout=2)
            for server in cluster.servers
        ]
        events = _Events(cluster, clients, random.Random(seed))
        happenings: list[Callable[[list[str]], None]] = [
            events.twice,
            events.too_late,
            events.early,
            events.early_by_a_server,
            events.out_of_order,
            events.of_no_decision,
        ]
        ports = [server.port for server in cluster.servers]
        with Load(ports, clients=1, seed=seed, rate=20) as load:
            for i in range(rounds):
                for happens in happenings:
                    happens([f"{happens.__name__}-{i}-{j}" for j in range(_EVENTS)])
        settle(cluster, load)
        decided = load.decisions + len(events.expected)
        owner = cluster.owner()

        def closed() -> bool:
            counters = owner.counters(APP)
            dangling = counters["dangling_rewards"] >= events.counters["dangling_rewards"]
            return dangling and counters["matured"] >= decided

        eventually("every window to close", closed)
        # After the window's end.
        closed_events = list(events.expected)[-_EVENTS:]
        for event_id in closed_events:
            events.reward(event_id, 1.0, "after")

        cluster.wait_learned(decided, load.rewards + events.rewards)
        counters = owner.counters(APP)
        outcome = check(cluster, "duplicate, late, early and disordered rewards", load)
        merged = Merged.of(APP, read_topic(cluster.kafka.bootstrap, TOPIC))
        for client in clients:
            client.close()

    learned = [each for each in merged.learned() if each.event_id in events.expected]
    assert {each.event_id: each.rewards for each in learned} == {
        event_id: {0: value} for event_id, value in events.expected.items()
    }
    assert len(learned) == len(events.expected), "something was learned twice"
    _load_is_learned(merged, load)
    found = {name: counters[name] for name in events.counters}
    # What comes after the window's end is late, as long as the event is remembered, and then it is dangling.
    after = {name: found[name] - number for name, number in events.counters.items()}
    assert after.pop("duplicate_rewards") == 0, f"expected {events.counters}, found {found}"
    assert min(after.values()) >= 0, f"expected {events.counters}, found {found}"
    assert sum(after.values()) == len(closed_events), f"expected {events.counters}, found {found}"
    assert counters["joined"] == load.rewards + events.rewards - sum(found.values())
    outcome.injected = events.rewards
    outcome.note = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in found.items())
    return outcome


def _load_is_learned(merged: Merged, load: Load) -> None:
    """The rewards of all the others are learned as they were sent."""
    values = {
        r.event_id: r.message(pb.Reward).value
        for r in merged.log
        if r.kind == pb.KIND_REWARD and r.message(pb.Reward).reward_id == f"reward-{r.event_id}"
    }
    learned = {each.event_id: each.rewards[0] for each in merged.learned()}
    for history in load.histories:
        lost = [event for event, _ in history.rewards if learned.get(event) != values[event]]
        assert not lost, f"{len(lost)} rewards were not learned: {lost[:3]}"
