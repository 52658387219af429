"""Kafka's brokers paused, killed, without a leader, without a majority: that is lag, and nothing that a caller notices."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, TOPIC, Cluster
from tests.faults.load import Load
from tests.server.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.harness import Service

# Seconds that a call may take. It is the journal that answers, so none takes longer because of Kafka.
_DEADLINE = 5.0
# How long each process may go on when it is told to stop: `server.drain`. The supervisor kills it 5 s later, and says so.
_DRAIN = "3s"
_KILLED = "a process did not stop in time"
# Seconds that Kafka is away: the first times in a long run, and otherwise from .. to.
_LONG = 60.0
_SHORT = (2.0, 5.0)


def broker(folder: Path, rounds: int, seed: int) -> Outcome:
    """The only broker is paused, or killed and started again; meanwhile nodes are stopped and started, too."""
    rng = random.Random(seed)
    loads = []
    recovery = stopping = 0.0
    with Cluster(folder, {"server": {"drain": _DRAIN}}) as cluster:
        ports = [server.port for server in cluster.servers]
        faults = [
            (cluster.kafka.pause, cluster.kafka.resume),
            (cluster.kafka.kill, cluster.kafka.start),
        ]
        # One server goes on.
        stopped = [cluster.servers[1], cluster.learners[0]]
        for i in range(rounds):
            fail, mend = faults[i % len(faults)]
            long = rounds >= 10 and i < len(faults)
            with _load(ports, f"as-it-goes-{i}", seed) as load:
                loads.append(load)
                time.sleep(rng.uniform(0.2, 1.0))
                fail()
                time.sleep(_LONG if long else rng.uniform(*_SHORT))
            stopping = max(stopping, _stop_and_start(stopped[i % len(stopped)]))
            with _load(ports, f"as-it-comes-{i}", seed) as load:
                loads.append(load)
                time.sleep(rng.uniform(0.2, 1.0))
                mend()
                mended = time.monotonic()
                cluster.wait_shipped()
                recovery = max(recovery, time.monotonic() - mended)
        outcome = _judge(cluster, "broker paused, broker killed", loads)
    outcome.injected, outcome.recovery = rounds, recovery
    outcome.note = f"nodes stopped within {stopping:.1f} s while Kafka was away"
    return outcome


def leader(folder: Path, rounds: int, seed: int) -> Outcome:
    """Of three brokers the leader of a partition is killed; or two are paused, so that no partition takes records."""
    rng = random.Random(seed)
    loads = []
    recovery = 0.0
    with Cluster(folder, {"kafka": {"replication": 3}}, brokers=3) as cluster:
        kafka = cluster.kafka
        ports = [server.port for server in cluster.servers]
        for i in range(rounds):
            with _load(ports, str(i), seed) as load:
                loads.append(load)
                time.sleep(rng.uniform(0.2, 1.0))
                if i % 2 == 0:
                    number = rng.choice(list(kafka.leaders(TOPIC).values()))
                    started = time.monotonic()
                    kafka.kill(number)
                    cluster.wait_shipped()  # without it
                    recovery = max(recovery, time.monotonic() - started)
                    kafka.start(number)
                else:
                    numbers = rng.sample(sorted(kafka.broker_ids()), 2)
                    kafka.pause(*numbers)
                    time.sleep(rng.uniform(*_SHORT))
                    kafka.resume(*numbers)
                    started = time.monotonic()
                    cluster.wait_shipped()
                    recovery = max(recovery, time.monotonic() - started)
            kafka.wait_ready()
        outcome = _judge(cluster, "leader killed, two of three brokers paused", loads)
    outcome.injected, outcome.recovery = rounds, recovery
    return outcome


def _load(ports: list[int], name: str, seed: int) -> Load:
    return Load(ports, name=name, seed=seed, timeout=_DEADLINE)


def _stop_and_start(node: Service) -> float:
    """While Kafka is away; returns the seconds that the stop has taken."""
    started = time.monotonic()
    code = node.stop()
    took = time.monotonic() - started
    assert code == 0, node.tail()
    assert _KILLED not in node.log.read_text(), node.tail()
    node.start()
    return took


def _judge(cluster: Cluster, fault: str, loads: list[Load]) -> Outcome:
    settle(cluster, *loads)
    owner = cluster.owner()

    def lag_is_zero() -> bool:
        status = owner.status(APP)
        shipped = [node.unshipped_records for node in status.nodes]
        return status.lag_records == 0 and shipped == [0] * len(cluster.nodes)

    eventually("the lag of every node to return to zero", lag_is_zero)
    outcome = check(cluster, fault, *loads)
    assert outcome.failed == 0, f"{outcome.failed} calls got no answer: {outcome.error}"
    return outcome
