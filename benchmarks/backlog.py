"""shared-02: a learner that starts with a million pending decisions and a million records to read.

    python -m benchmarks.backlog --pending 1000000

Writes decisions into a server's journal, which its shipper copies to real Kafka; a learner folds them and stops. Then a reward for every decision
goes the same way, and the learner starts again. Prints the memory of learner and follower at their highest, and the
time until all is joined: every reward has to find its decision.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rankd.v1 import log_pb2 as pb
from server.journal.store import Store
from tests.faults.cluster import APP, Cluster
from tests.server.harness import PATIENCE, Service, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

# Records of one transaction.
GROUP = 1_000
# The goal that the project has set itself, for the learner and the follower each.
GOAL_BYTES = 2**30
# Seconds for the whole million to be shipped, or folded.
_LONG = 1_800.0


def decision() -> bytes:
    """A decision among three, as a server would log it."""
    logged = pb.Decision(
        action_ids=["a", "b", "c"],
        pmf=[0.9, 0.05, 0.05],
        ranking=[0, 1, 2],
        slot_probabilities=[0.9],
        sampler="plackett-luce",
        epoch=1,
        model_version=4,
        mode=pb.MODE_ONLINE,
    )
    logged.context.add(numeric_names=["hour", "age"], numeric_values=[20.0, 41.0])
    return logged.SerializeToString()


def decisions(count: int) -> Iterator[pb.Record]:
    payload = decision()
    now = time.time_ns() // 1_000
    for i in range(count):
        header = pb.Header(
            app=APP, kind=pb.KIND_DECISION, event_id=f"event-{i}", origin_time_us=now
        )
        yield pb.Record(header=header, payload=payload)


def rewards(count: int) -> Iterator[pb.Record]:
    now = time.time_ns() // 1_000
    for i in range(count):
        header = pb.Header(app=APP, kind=pb.KIND_REWARD, event_id=f"event-{i}", origin_time_us=now)
        reward = pb.Reward(value=1.0, reward_id=f"reward-{i}")
        yield pb.Record(header=header, payload=reward.SerializeToString())


def write(node: Service, records: Iterator[pb.Record]) -> None:
    """Into the node's journal, while its service stands still; then it is started and ships them."""
    node.stop()
    with closing(Store(node.folder.journal, shared=True)) as store:
        while group := list(islice(records, GROUP)):
            store.append([group])
    node.launch()
    node.wait_serving()
    eventually("the journal to be in Kafka", lambda: _shipped(node), _LONG)


def _shipped(node: Service) -> bool:
    return bool(json.loads(node.folder.shipped.read_bytes())["lag_records"] < 5)


def peak(pid: int) -> int:
    """Bytes of memory that the process has had at its highest."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def wait_counter(learner: Service, name: str, value: int) -> None:
    def reached() -> bool:
        try:
            status = json.loads(learner.folder.status(APP).read_bytes())
        except FileNotFoundError:
            return False
        return bool(status["counters"][name] >= value)

    eventually(f"{name} to be {value}", reached, _LONG)


def main() -> int:
    """Prints the figures; exit code 1 if the goal is missed or a join is lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pending", type=int, default=1_000_000)
    pending = parser.parse_args().pending
    settings = {
        "learner": {"checkpoint_every": 5000},
        "log": {"skew": "1h"},
        "apps": {APP: {"reward": {"min": 0, "wait": "6h", "always_sent": False}}},
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(Path(folder), settings, servers=1) as cluster,
    ):
        server, learner = cluster.servers[0], cluster.learners[0]
        write(server, decisions(pending))
        wait_counter(learner, "decisions", pending)
        learner.stop()
        write(server, rewards(pending))
        learner.launch()
        started = time.monotonic()
        wait_counter(learner, "rewards", pending)
        took = time.monotonic() - started
        learner.wait_serving(PATIENCE)
        counters = learner.counters(APP)
        pids = learner.pids()
        memory = {role: peak(pids[role]) for role in ("learner", "follower")}
    figures = {
        "id": "shared-02",
        "pending": pending,
        "backlog": pending,
        "joined": counters["joined"],
        "caught_up_s": round(took, 1),
        **{f"{role}_peak_mb": round(size / 1e6) for role, size in memory.items()},
    }
    print(json.dumps(figures))
    return int(counters["joined"] != pending or max(memory.values()) > GOAL_BYTES)


if __name__ == "__main__":
    sys.exit(main())
