"""One server whose wall clock is an hour ahead, steps back, is an hour behind, and steps forward again."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from rankd.v1 import log_pb2 as pb
from server.files import replace
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, TOPIC, Cluster, folder_id, merged
from tests.faults.load import Load
from tests.faults.topic import Merged, read_topic
from tests.server.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

# Python imports it at its start. The running time (time.monotonic) stays what it is, as on a machine whose clock is set.
# libfaketime does the same to the whole process, but gRPC asks for the time so often that calls then take seconds.
_SITECUSTOMIZE = """
import os, time

def _shift(path=os.environ["CLOCK_SHIFT_FILE"], open=open):
    with open(path) as file:
        return int(file.read())

def _shifted(seconds=time.time, nanoseconds=time.time_ns):
    return lambda: seconds() + _shift(), lambda: nanoseconds() + 1_000_000_000 * _shift()

time.time, time.time_ns = _shifted()
"""
_HOUR = 3600
_WAIT, _SKEW = 3.0, 1.0
SETTINGS = {
    # A default that no reward has tells what was learned without one.
    "apps": {
        APP: {"reward": {"min": -1, "default": -1, "always_sent": False, "wait": f"{_WAIT:g}s"}}
    },
    "log": {"skew": f"{_SKEW:g}s"},
}


def clocks(folder: Path, rounds: int, seed: int) -> Outcome:
    """Nothing is lost where one clock alone was asked, what else comes late is counted, and learning goes on."""
    rng = random.Random(seed)
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    wrong = _Clock(folder / "clock")
    environment = {"PYTHONPATH": str(site), "CLOCK_SHIFT_FILE": str(wrong.path)}
    wrong.set(_HOUR)
    short = rounds <= 2
    pause = 2.0 if short else 10.0
    # A reward that its client keeps while the server restarts must find the window open.
    settings = merged(SETTINGS, {} if short else {"log": {"lateness": "30s"}})
    stepped = 0
    with Cluster(folder, settings, environments={"server-1": environment}) as cluster:
        healthy, odd = (cluster.nodes[name] for name in ("server-0", "server-1"))
        matured = 0

        def learns() -> bool:
            return cluster.owner().counters(APP)["matured"] > matured

        with (
            Load([healthy.port], clients=1, name="healthy", seed=seed, rate=30) as alone,
            Load([healthy.port, odd.port], clients=2, name="both", seed=seed, rate=15) as both,
        ):
            for i in range(max(1, rounds // 2)):
                # It starts ahead, is set back twice, and then forward twice.
                for shift in (_HOUR, 0, -_HOUR, 0):
                    stepped += wrong.set(shift)
                    time.sleep(pause * rng.uniform(0.7, 1.3))
                    eventually("learning to go on", learns)
                    matured = cluster.owner().counters(APP)["matured"]
                    if i and shift:  # a journal that begins anew by a wrong clock
                        cluster.restart("server-1")
        settle(cluster, alone, both)
        decided = alone.decisions + both.decisions

        def over() -> bool:
            return cluster.owner().counters(APP)["matured"] >= decided

        eventually("every window to close", over)
        counters = cluster.owner().counters(APP)
        outcome = check(cluster, "a clock that is an hour off, and steps", alone, both)
        topic = Merged.of(APP, read_topic(cluster.kafka.bootstrap, TOPIC))
        learner = folder_id(cluster.learners[0])

    late = _held_against_origin_stamps(topic, alone, both)
    assert late["healthy"] == 0, "rewards were lost on a healthy node"
    assert counters["late_rewards"] == late["healthy"] + late["both"]
    assert late["both"] > 0, "no clock was off"
    fenced = [r for r in topic.log if r.kind == pb.KIND_FENCE and r.folder == learner]
    assert not fenced, "a node was given up because of its clock"
    outcome.injected = stepped
    outcome.note = f"rewards of the healthy node lost: 0; counted as late: {late['both']}"
    return outcome


class _Clock:
    """By how many seconds a node's wall clock is off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shift: int | None = None

    def set(self, seconds: int) -> bool:
        """Returns whether that is a step."""
        stepped = self._shift != seconds
        self._shift = seconds
        replace(self.path, str(seconds).encode(), durable=False)
        return stepped


def _held_against_origin_stamps(topic: Merged, *loads: Load) -> dict[str, int]:
    """Every reward is learned exactly if its own stamp lies in its decision's window; returns how many do not."""
    learned = {each.event_id: each.rewards[0] for each in topic.learned()}
    decided = {r.event_id: r.origin_us for r in topic.log if r.kind == pb.KIND_DECISION}
    rewarded = {r.event_id: r for r in topic.log if r.kind == pb.KIND_REWARD}
    late = {}
    for load in loads:
        late[load.name] = 0
        for history in load.histories:
            for _, decision in history.decisions:
                reward = rewarded.get(decision.event_id)
                value = -1.0
                if reward is not None:
                    after = reward.origin_us - decided[decision.event_id]
                    if after <= 1e6 * (_WAIT + _SKEW):
                        value = reward.message(pb.Reward).value
                    else:
                        late[load.name] += 1
                assert learned[decision.event_id] == value, f"{decision.event_id}: {value}"
    return late
