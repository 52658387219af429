"""shared-01: how soon a reward is in the models that servers serve, over real Kafka and Redis, and how fast a learner catches up.

    python -m benchmarks.freshness --rate 500 --seconds 30

Two servers and a learner. Clients rank and reward at a fixed rate, open loop; each decision says which model version made
it, so the first answer by a version that has seen a reward tells when it was served. Then the learner's node is stopped, a
backlog of interactions gathers, and it is started again.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import json
import random
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np

from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from rankd.v1.decisions_pb2_grpc import DecisionsStub
from server.kafka.mirror import MirrorReader
from tests.faults.cluster import APP, Cluster
from tests.server.harness import Service, eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

ACTIONS = [f"action-{k}" for k in range(10)]
NUMBERS = [f"x{k}" for k in range(10)]
# Requests that one call carries; clients with traffic like this use batches.
BATCH = 5
BACKLOG = 50_000
# Decisions a second at which it gathers: what two cores take beside Kafka.
BACKLOG_RATE = 1_200.0
# The goals that the project has set itself.
FRESH_SECONDS = 1.0
CATCH_UP = 5_000.0
# Seconds for one call on two busy cores.
_TIMEOUT = 20.0


def request(event_id: str, rng: random.Random) -> api.RankRequest:
    """Ten actions without features, a context of ten numbers."""
    asked = api.RankRequest(event_id=event_id, action_ids=ACTIONS)
    asked.context.add(numeric_names=NUMBERS, numeric_values=[rng.gauss(0, 1) for _ in NUMBERS])
    return asked


async def load(
    ports: Sequence[int], rate: float, seconds: float, name: str
) -> tuple[list[tuple[float, int]], dict[str, float]]:
    """((time, version that answered) of every decision, reward_id -> time of its ack); times in seconds."""
    answers: list[tuple[float, int]] = []
    acked: dict[str, float] = {}
    rng = random.Random(1)

    async def batch(stub: DecisionsStub, number: int) -> None:
        asked = [request(f"{name}-{number}-{i}", rng) for i in range(BATCH)]
        reply = await stub.RankBatch(api.RankBatchRequest(requests=asked), timeout=_TIMEOUT)
        now = time.monotonic()
        answers.extend((now, decided.model_version) for decided in reply.replies)
        rewards = [
            api.RewardRequest(
                event_id=d.event_id,
                decision_id=d.decision_id,
                reward_id=f"reward-{d.event_id}",
                value=float(d.action_id == ACTIONS[0]),
            )
            for d in reply.replies
        ]
        await stub.RewardBatch(api.RewardBatchRequest(rewards=rewards), timeout=_TIMEOUT)
        now = time.monotonic()
        acked.update((reward.reward_id, now) for reward in rewards)

    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in ports]
    stubs = [DecisionsStub(channel) for channel in channels]  # type: ignore[no-untyped-call]
    started = time.monotonic()
    async with asyncio.TaskGroup() as calls:
        for number in range(int(rate * seconds / BATCH)):
            await asyncio.sleep(max(0.0, started + number * BATCH / rate - time.monotonic()))
            calls.create_task(batch(stubs[number % len(stubs)], number))
    for channel in channels:
        await channel.close()
    return answers, acked


def freshness(
    learner: Service, answers: list[tuple[float, int]], acked: dict[str, float]
) -> list[float]:
    """For every reward, seconds from its ack to the first decision by a model that has seen it."""
    with closing(MirrorReader(learner.folder.merged(APP))) as reader:
        merged = {
            pb.Reward.FromString(r.payload).reward_id: r.sequence
            for r in reader.records(0)
            if r.kind == pb.KIND_REWARD
        }
    best: list[tuple[int, float]] = []  # rising versions, and when each was first seen
    for when, version in sorted(answers):
        if not best or version > best[-1][0]:
            best.append((version, when))
    versions = [version for version, _ in best]
    waits = []
    for reward, when in acked.items():
        at = bisect.bisect_left(versions, merged[reward])
        if at < len(best):  # the last rewards are served when nobody asks any more
            waits.append(max(0.0, best[at][1] - when))
    return waits


def catch_up(cluster: Cluster, backlog: int) -> float:
    """Interactions a second of a learner that begins with a backlog."""
    learner = cluster.learners[0]
    before = learner.counters(APP)["matured"]
    learner.stop()
    ports = [node.port for node in cluster.servers]
    asyncio.run(load(ports, BACKLOG_RATE, backlog / BACKLOG_RATE, "backlog"))
    for node in cluster.servers:
        eventually("the journal to be in Kafka", lambda node=node: _shipped(node), 120)  # type: ignore[misc]
    learner.launch()
    started = eventually("the learner to begin", lambda: _first(learner, before), 120)
    eventually("the backlog to be learned", lambda: _matured(learner) >= before + backlog, 300)
    took = time.monotonic() - started[0]
    return (before + backlog - started[1]) / took


def _shipped(node: Service) -> bool:
    return bool(json.loads(node.folder.shipped.read_bytes())["lag_records"] < 5)


def _matured(learner: Service) -> int:
    status: dict[str, dict[str, int]] = json.loads(learner.folder.status(APP).read_bytes())
    return status["counters"]["matured"]


def _first(learner: Service, before: int) -> tuple[float, int] | None:
    """When the backlog's first interactions have been learned, and how many."""
    matured = _matured(learner)
    return (time.monotonic(), matured) if matured > before else None


def main() -> int:
    """Prints the figures; exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--backlog", type=int, default=BACKLOG)
    asked = parser.parse_args()
    settings = {
        "learner": {"checkpoint_every": 5000},
        "kafka": {"partitions": asked.partitions},
    }
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder), settings) as cluster:
        ports = [node.port for node in cluster.servers]
        warm, _ = asyncio.run(load(ports, asked.rate, 5, "warm"))
        answers, acked = asyncio.run(load(ports, asked.rate, asked.seconds, "fresh"))
        cluster.wait_learned(len(warm) + len(answers), len(warm) + len(acked))
        waits = freshness(cluster.learners[0], answers, acked)
        p50, p99 = np.percentile(waits, [50, 99])
        rate = catch_up(cluster, asked.backlog)
    figures = {
        "id": "shared-01",
        "rewards": len(waits),
        "reward_to_served_p50_s": round(float(p50), 3),
        "reward_to_served_p99_s": round(float(p99), 3),
        "catch_up_interactions_per_s": round(rate),
    }
    print(json.dumps(figures))
    return int(p99 > FRESH_SECONDS or rate < CATCH_UP)


if __name__ == "__main__":
    sys.exit(main())
