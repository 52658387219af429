"""kill -9 of learners, servers' workers, writers, shippers, followers, relays and whole nodes at random points."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import Cluster
from tests.faults.load import Load

if TYPE_CHECKING:
    from pathlib import Path

_SERVER = ("worker-0", "writer", "shipper", "relay", "everything")
_LEARNER = ("learner", "writer", "shipper", "follower", "relay", "everything")


def kill(folder: Path, rounds: int, seed: int) -> Outcome:
    """Every acknowledged decision and reward is in the topic, and learned exactly once."""
    rng = random.Random(seed)
    longest = 0.0
    with Cluster(folder) as cluster:
        with Load([node.port for node in cluster.servers], seed=seed) as load:
            victims = [(node, role) for node in cluster.servers for role in _SERVER]
            victims += [(node, role) for node in cluster.learners for role in _LEARNER]
            rng.shuffle(victims)
            for i in range(rounds):
                time.sleep(rng.uniform(0.05, 0.8))
                node, role = victims[i % len(victims)]
                started = time.monotonic()
                if role == "everything":
                    node.kill_all()
                    node.launch()
                else:
                    node.kill9(role)
                cluster.wait_serving()
                longest = max(longest, time.monotonic() - started)
        settle(cluster, load)
        outcome = check(cluster, "kill -9", load)
    outcome.injected, outcome.recovery = rounds, longest
    return outcome
