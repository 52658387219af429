"""Servers that are restarted in order, one after the other, under load: as they are, and with other settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rankd.v1 import log_pb2 as pb
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, TOPIC, Cluster
from tests.faults.load import Load
from tests.faults.topic import Merged, read_topic
from tests.server.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

# Seconds for which clients try again. A restart takes three, where the machine has nothing else to do.
_PATIENCE = 120.0
# Decisions and rewards between two restarts.
_CALLS = 20
# What an app's policy becomes: the first keeps what was learned, the second begins afresh.
_CHANGES: tuple[dict[str, Any], ...] = (
    {"type": "linucb", "alpha": 0.5},
    {"type": "epsilon_greedy"},
)


def rolling(folder: Path, rounds: int, seed: int) -> Outcome:
    """No call fails whose client tries again, each change opens one epoch, and every epoch can be verified."""
    changes = _CHANGES[:1] if rounds <= 2 else _CHANGES
    with Cluster(folder) as cluster:
        servers = [name for name in cluster.nodes if name.startswith("server")]
        learners = [name for name in cluster.nodes if name.startswith("learner")]
        ports = [node.port for node in cluster.servers]
        with Load(ports, seed=seed, timeout=_PATIENCE) as load:
            for i in range(rounds):
                cluster.restart(servers[i % len(servers)])
                _wait_calls(load)
            epochs = [_epoch(cluster)]
            for policy in changes:
                cluster.change({"apps": {APP: {"policy": policy}}})
                for name in (*learners, *servers):
                    cluster.restart(name)
                epochs.append(_wait_decided(cluster, epochs[-1], load))
        settle(cluster, load)
        assert load.failed == 0, load.error
        outcome = check(cluster, "rolling restarts, and other settings", load)
        merged = Merged.of(APP, read_topic(cluster.kafka.bootstrap, TOPIC))
    opened = [r.message(pb.Epoch).number for r in merged.log if r.kind == pb.KIND_EPOCH]
    assert opened == epochs, f"epochs {opened}: each change opens one"
    decided = [r.decision().epoch for r in merged.log if r.kind == pb.KIND_DECISION]
    assert set(decided) == set(epochs)
    assert outcome.verified == len(decided), "not every decision of every epoch can be verified"
    outcome.injected = rounds + len(changes) * len(cluster.nodes)
    counts = ", ".join(f"{decided.count(epoch)} in epoch {epoch}" for epoch in epochs)
    outcome.note = f"decisions verified: {counts}"
    return outcome


def _epoch(cluster: Cluster) -> int:
    return cluster.owner().status(APP).epoch


def _wait_decided(cluster: Cluster, before: int, load: Load) -> int:
    """Waits until the next epoch is there, and every client has had a decision of it; returns its number."""
    eventually(f"the epoch after {before}", lambda: _epoch(cluster) > before)

    def decided() -> bool:
        return all(history.decisions[-1][1].epoch > before for history in load.histories)

    eventually(f"decisions of the epoch after {before}", decided)
    _wait_calls(load)
    return _epoch(cluster)


def _wait_calls(load: Load) -> None:
    enough = load.rewards + _CALLS
    eventually("calls to be answered again", lambda: load.rewards >= enough)
