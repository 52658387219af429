"""Two apps over two learner processes, and over two learner nodes, with rewards from producers outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankd.v1 import log_pb2 as pb
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, Cluster, folder_id
from tests.faults.load import Load
from tests.faults.producer import json_reward, produce, proto_reward
from tests.faults.topic import Merged, read_topic
from tests.server.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.load import History

_OTHER = "other"
SETTINGS = {
    "apps": {
        _OTHER: {
            "policy": {"type": "epsilon_greedy"},
            "reward": {"min": 0, "always_sent": True},
        }
    }
}


def two_processes(folder: Path, rounds: int, seed: int) -> Outcome:
    """One learner node folds two apps in two processes."""
    settings = {**SETTINGS, "learner": {"processes": 2}}
    with Cluster(folder, settings) as cluster:
        pids = cluster.nodes["learner-0"].pids()
        assert {"learner-0", "learner-1", "follower-0", "follower-1"} <= pids.keys()
        return _learn_both(cluster, "two apps, two learner processes", rounds, seed)


def two_learners(folder: Path, rounds: int, seed: int) -> Outcome:
    """Each of two learner nodes has an app of its own."""
    own = {"learner-0": {"learner": {"apps": [APP]}}, "learner-1": {"learner": {"apps": [_OTHER]}}}
    with Cluster(folder, SETTINGS, learners=2, own=own) as cluster:
        outcome = _learn_both(cluster, "two apps, two learner nodes", rounds, seed)
        for name, app in (("learner-0", APP), ("learner-1", _OTHER)):
            merged = Merged.of(app, read_topic(cluster.kafka.bootstrap, f"rankd.{app}"))
            owners = {r.message(pb.Lease).owner for r in merged.log if r.kind == pb.KIND_LEASE}
            assert owners == {folder_id(cluster.nodes[name])}
        return outcome


def _learn_both(cluster: Cluster, fault: str, rounds: int, seed: int) -> Outcome:
    ports = [node.port for node in cluster.servers]
    loads = {
        app: Load(ports, clients=1, name=app, seed=seed, app=app, rewarded=0.5)
        for app in (APP, _OTHER)
    }
    enough = 30 * rounds
    with loads[APP], loads[_OTHER]:
        eventually(
            "some load", lambda: all(load.rewards >= enough for load in loads.values()), 600.0
        )
    outside = 0
    total = None
    for app, load in loads.items():
        (history,) = load.histories
        outside += _reward_the_rest(cluster, app, history)
        settle(cluster, load, app=app)
        outcome = check(cluster, fault, load, app=app)
        assert outcome.learned == load.decisions, f"app {app} has not learned everything"
        total = outcome if total is None else _sum(total, outcome)
    assert total is not None
    total.injected = outside
    total.note = f"{outside} rewards by producers outside, as JSON and as protobuf"
    return total


def _reward_the_rest(cluster: Cluster, app: str, history: History) -> int:
    """Decisions that their clients have not rewarded are rewarded by a producer, every second one twice."""
    rewarded = {event_id for event_id, _ in history.rewards}
    messages: list[tuple[str | None, bytes | None]] = []
    rest = [d.event_id for _, d in history.decisions if d.event_id not in rewarded]
    for i, event_id in enumerate(rest):
        as_json = json_reward(event_id, 1.0, f"outside-{event_id}")
        as_proto = proto_reward(event_id, 1.0, f"outside-{event_id}")
        messages += [(event_id, value) for value in ((as_json,), (as_proto, as_json))[i % 2]]
    produce(cluster.kafka.bootstrap, f"rankd.{app}", messages)

    def learned() -> bool:
        return cluster.owner(app).counters(app)["matured"] >= len(history.decisions)

    eventually(f"everything of app {app} to be learned", learned, 120.0)
    return len(rest)


def _sum(one: Outcome, other: Outcome) -> Outcome:
    for name in ("decisions", "rewards", "failed", "learned", "verified"):
        setattr(one, name, getattr(one, name) + getattr(other, name))
    one.longest_call = max(one.longest_call, other.longest_call)
    return one
