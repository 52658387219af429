"""Partitions, latency, refusals and resets between a server and a learner on one side, Kafka and Redis on the other."""

from __future__ import annotations

import random
import time
from itertools import cycle
from typing import TYPE_CHECKING

from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, Cluster
from tests.faults.load import Load
from tests.server.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.proxy import Proxy

# Seconds that a call may take, and how much later its caller may notice, on a machine that does much else besides.
_DEADLINE, _SLACK = 5.0, 0.5
# Latency each way (seconds): more than calls wait for Redis, less than an attempt to send to Kafka has.
_DELAY = 0.3
_KINDS = ("cut", "delay", "refuse", "reset")
# Seconds that a fault lasts, in a short run and in a long one, in which requests run out of time, too; and that the network is
# well before the next.
_SHORT, _LONG, _WELL = (0.5, 3.0), (0.5, 15.0), (0.0, 1.0)
# Each kind at least once on either way.
_LEAST = len(_KINDS)


def network(folder: Path, rounds: int, seed: int) -> Outcome:
    """No call takes longer than its deadline, no process ends, and all is in step again soon after."""
    rng = random.Random(seed)
    with Cluster(folder, proxied=("server-1", "learner-0")) as cluster:
        pids = {name: node.pids() for name, node in cluster.nodes.items()}
        ports = [server.port for server in cluster.servers]
        kafka, redis = _kinds(rng), _kinds(rng)
        count = max(rounds, _LEAST)
        with Load(ports, seed=seed, timeout=_DEADLINE) as load:
            for _ in range(count):
                time.sleep(rng.uniform(*_WELL))
                _break(cluster.kafka_proxy, next(kafka))
                _break(cluster.redis_proxy, next(redis))
                time.sleep(rng.uniform(*(_LONG if rounds >= 10 else _SHORT)))
                for proxy in rng.sample([cluster.kafka_proxy, cluster.redis_proxy], 2):
                    proxy.heal()
            healed = time.monotonic()
            cluster.wait_shipped()
        settle(cluster, load)
        _wait_same_model(cluster)
        recovery = time.monotonic() - healed
        outcome = check(cluster, "network between nodes, Kafka and Redis", load)
        assert {name: node.pids() for name, node in cluster.nodes.items()} == pids, "restarted"
    assert outcome.failed == 0, f"{outcome.failed} calls got no answer: {outcome.error}"
    assert outcome.longest_call <= _DEADLINE + _SLACK
    outcome.injected, outcome.recovery = 2 * count, recovery
    return outcome


def _kinds(rng: random.Random) -> Iterator[str]:
    """All kinds in random order, again and again."""
    return cycle(rng.sample(_KINDS, len(_KINDS)))


def _break(proxy: Proxy, kind: str) -> None:
    if kind == "cut":
        proxy.cut()
    elif kind == "delay":
        proxy.delay(_DELAY)
    elif kind == "refuse":
        proxy.refuse()
    else:
        proxy.reset()


def _wait_same_model(cluster: Cluster) -> None:
    """Waits until every server serves what the learner has published."""

    def same() -> bool:
        last = cluster.learners[0].published(APP).model_version
        return all(server.status(APP).served_version >= last for server in cluster.servers)

    eventually("every server to serve the newest model", same)
