"""Outages longer than the wait window, of Kafka, of the learner, of one server: rewards that wait meanwhile are joined."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from typing import TYPE_CHECKING

from rankd import Client
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, TOPIC, Cluster
from tests.faults.load import ACTIONS, Histories, Load
from tests.faults.topic import Merged, read_topic
from tests.server.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rankd import Decision

# Seconds. A window that was open when an outage began would be over after the first two.
_WAIT, _LATENESS = 2.0, 2.0
# Seconds that an outage lasts, from .. to; in a long run they are longer.
_SHORT, _LONG = (5.0, 6.0), (8.0, 30.0)
SETTINGS = {
    "apps": {APP: {"reward": {"min": 0, "always_sent": False, "wait": f"{_WAIT:g}s"}}},
    "log": {"lateness": f"{_LATENESS:g}s"},
    # Nobody is to be given up.
    "kafka": {"node_lease": "5m"},
}
# Decisions before each outage; every second one gets a reward.
_DECISIONS = 16
# Seconds between two rewards, so that they come before the next Tick and after it.
_PACE = 0.08


def outage(folder: Path, rounds: int, seed: int) -> Outcome:
    """No window closes because of an outage: rewards that were in time are joined, and all others default."""
    rng = random.Random(seed)
    recovery = 0.0
    with Cluster(folder, SETTINGS, proxied=("server-1",)) as cluster:
        kinds = [_kafka, _learner, _cut_off, _killed]
        rng.shuffle(kinds)
        count = max(rounds, len(kinds))
        with (
            _Events([server.port for server in cluster.servers]) as events,
            # The first server always goes on.
            Load([cluster.servers[0].port], clients=1, seed=seed, rate=20, rewarded=0) as load,
        ):
            for i in range(count):
                waiting = [events.rank(rng, f"event-{i}-{k}") for k in range(_DECISIONS)]
                with kinds[i % len(kinds)](cluster, rng, events, waiting[::2]):
                    time.sleep(rng.uniform(*(_LONG if rounds >= 10 else _SHORT)))
                ended = time.monotonic()
                cluster.wait_serving()
                cluster.wait_shipped()
                recovery = max(recovery, time.monotonic() - ended)
        settle(cluster, load, events)
        _wait_matured(cluster, load.decisions + events.decisions)
        counters = cluster.owner().counters(APP)
        outcome = check(cluster, "outage longer than the window", load, events)
        merged = Merged.of(APP, read_topic(cluster.kafka.bootstrap, TOPIC))
    learned = {each.event_id: each.rewards for each in merged.learned()}
    lost = sorted(event for event in events.in_time if learned[event] != {0: 1.0})
    assert not lost, f"{len(lost)} of {len(events.in_time)} rewards were not joined: {lost}"
    assert counters["dangling_rewards"] == 0
    assert counters["late_rewards"] <= events.rewards - len(events.in_time)
    assert counters["joined"] == events.rewards - counters["late_rewards"]
    assert counters["defaulted"] == outcome.decisions - counters["joined"]
    outcome.injected, outcome.recovery = count, recovery
    outcome.note = (
        f"{counters['joined']} rewards joined, {counters['defaulted']} decisions defaulted"
    )
    return outcome


class _Events(Histories):
    """Decisions and rewards at a chosen server."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(1)
        self._clients = [Client(f"127.0.0.1:{port}", timeout=30) for port in ports]
        self._asked_at: dict[str, float] = {}
        self.in_time: set[str] = set()  # events whose reward was in the window for certain

    def __enter__(self) -> _Events:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()

    def rank(self, rng: random.Random, event_id: str) -> Decision:
        self._asked_at[event_id] = time.monotonic()
        context = {"x": rng.gauss(0, 1)}
        decision = rng.choice(self._clients).rank(context, list(ACTIONS), event_id=event_id)
        self.histories[0].decisions.append((context, decision))
        return decision

    def reward(self, decisions: Sequence[Decision], server: int) -> None:
        for decision in decisions:
            event_id = decision.event_id
            time.sleep(_PACE)
            self._clients[server].reward(decision, 1.0, reward_id=f"reward-{event_id}")
            self.histories[0].rewards.append((event_id, f"reward-{event_id}"))
            if time.monotonic() - self._asked_at[event_id] < _WAIT:
                self.in_time.add(event_id)


# -- outages: each begins, sends rewards to a server from which they cannot be learned, and ends -------


@contextlib.contextmanager
def _kafka(
    cluster: Cluster, rng: random.Random, events: _Events, rewarded: Sequence[Decision]
) -> Iterator[None]:
    fail, mend = rng.choice(
        [
            (cluster.kafka.pause, cluster.kafka.resume),
            (cluster.kafka.kill, cluster.kafka.start),
        ]
    )
    fail()
    events.reward(rewarded[::2], 0)
    events.reward(rewarded[1::2], 1)
    yield
    mend()


@contextlib.contextmanager
def _learner(
    cluster: Cluster, rng: random.Random, events: _Events, rewarded: Sequence[Decision]
) -> Iterator[None]:
    learner = cluster.learners[0]
    if rng.random() < 0.5:
        learner.kill_all()
    else:
        learner.terminate()
    events.reward(rewarded[::2], 0)
    events.reward(rewarded[1::2], 1)
    yield
    learner.stop()
    learner.launch()


@contextlib.contextmanager
def _cut_off(
    cluster: Cluster, rng: random.Random, events: _Events, rewarded: Sequence[Decision]
) -> Iterator[None]:
    """One server does not reach Kafka and Redis, while the other does."""
    for proxy in (cluster.kafka_proxy, cluster.redis_proxy):
        if rng.random() < 0.5:
            proxy.cut()
        else:
            proxy.refuse()
    events.reward(rewarded, 1)
    yield
    cluster.kafka_proxy.heal()
    cluster.redis_proxy.heal()


@contextlib.contextmanager
def _killed(
    cluster: Cluster, rng: random.Random, events: _Events, rewarded: Sequence[Decision]
) -> Iterator[None]:
    """All of a server ends, with rewards on its disk only."""
    server = cluster.servers[1]
    server.signal("shipper", signal.SIGSTOP)
    events.reward(rewarded, 1)
    server.kill_all()
    yield
    server.launch()


def _wait_matured(cluster: Cluster, decisions: int) -> None:
    owner = cluster.owner()

    def matured() -> bool:
        return owner.status(APP).pending == 0 and owner.counters(APP)["matured"] == decisions

    eventually("every window to close", matured)
