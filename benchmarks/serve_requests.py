"""What the benchmarks of serving ask: requests of one shape each, and what a model is trained with before."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from rankd.v1 import decisions_pb2 as api

if TYPE_CHECKING:
    from rankd.v1.decisions_pb2_grpc import DecisionsStub

# Length of a dense vector, and how many named features a sparse context has.
WIDTH = 32
NAMES = 20
BATCH = 64
# Decisions that a model has learned before anything is measured, by the number of actions. An action's own regression
# costs the same after one interaction as after many.
TRAINED = 1_280
# Of a gRPC message on the wire: not compressed, and its length.
_PREFIX = struct.Struct("!BI")
# Seconds for one call while training, on two busy cores.
_TIMEOUT = 60.0

# dense: a vector of each action's own. sparse: ten named numbers and ten categories of the context. context: a vector of the
# context. All with a regression for each action, which is the default. shared: as dense, with one regression for all, in which each
# action id has a column; all that the actions of a service have are in it, up to 256.
POLICIES: dict[str, dict[str, Any]] = {
    "dense": {"type": "linucb"},
    "shared": {"type": "linucb", "model": "shared"},
    "sparse": {"type": "linucb"},
    "context": {"type": "linucb"},
}


def config(kind: str, workers: int = 1, edge: str = "", **more: object) -> dict[str, Any]:
    """rankd.yaml of a service for one kind of requests.

    Args:
        more: settings of its section `server`.
    """
    server: dict[str, Any] = {"workers": workers, "max_message_bytes": 64 << 20, **more}
    if edge:
        server["edge"] = edge
    return {
        "server": server,
        # Every decision gets its reward while training. Later ones get none, so that the model stays as it is.
        "apps": {"default": {"policy": POLICIES[kind], "reward": {"always_sent": True}}},
    }


def request(kind: str, actions: int, seed: int = 0) -> api.RankRequest:
    """One request. It names no event, so the server makes a new one whenever it is sent."""
    rng = np.random.default_rng([seed, actions])
    asked = api.RankRequest(action_ids=[f"action-{k}" for k in range(actions)])
    if kind in {"dense", "shared"}:
        vectors = rng.normal(size=(actions, WIDTH)).astype("<f4")
        asked.action_features.add(vector_size=WIDTH, vector_data=vectors.tobytes())
    elif kind == "context":
        vector = rng.normal(size=WIDTH).astype("<f4")
        asked.context.add(
            vector_names=["embedding"], vector_sizes=[WIDTH], vector_data=vector.tobytes()
        )
    else:
        half = NAMES // 2
        asked.context.add(
            numeric_names=[f"number-{i}" for i in range(half)],
            numeric_values=rng.normal(size=half).tolist(),
            categorical_names=[f"category-{i}" for i in range(half)],
            categorical_values=[f"value-{v}" for v in rng.integers(0, 5, size=half)],
        )
    return asked


def unary(kind: str, actions: int) -> bytes:
    """The body of one Rank."""
    return framed(request(kind, actions).SerializeToString())


def batch(kind: str, actions: int) -> bytes:
    """The body of one RankBatch."""
    asked = [request(kind, actions, seed) for seed in range(BATCH)]
    return framed(api.RankBatchRequest(requests=asked).SerializeToString())


def stream(kind: str, actions: int, messages: int) -> bytes:
    """The body of one RankStream."""
    return unary(kind, actions) * messages


def framed(message: bytes) -> bytes:
    """A message as gRPC puts it on the wire."""
    return _PREFIX.pack(False, len(message)) + message


def train(stub: DecisionsStub, kind: str, counts: list[int]) -> int:
    """Decisions with their rewards, some for each number of actions; returns how many were made."""
    rng = random.Random(1)
    for actions in counts:
        for first in range(0, TRAINED, BATCH):
            asked = [request(kind, actions, first + i) for i in range(BATCH)]
            replies = stub.RankBatch(api.RankBatchRequest(requests=asked), timeout=_TIMEOUT).replies
            rewards = [
                api.RewardRequest(event_id=reply.event_id, value=rng.random()) for reply in replies
            ]
            stub.RewardBatch(api.RewardBatchRequest(rewards=rewards), timeout=_TIMEOUT)
    return TRAINED * len(counts)
