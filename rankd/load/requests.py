"""Requests to send: made before the first is due, since making one costs as much as sending it."""

from __future__ import annotations

from itertools import cycle
from secrets import token_hex
from typing import TYPE_CHECKING

import numpy as np

from rankd.v1 import decisions_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterator

# Different requests that are sent over and over, so that contexts vary; some megabytes where there are many actions.
_DIFFERENT = 64


def rank_requests(app: str, actions: int, features: int, seed: int) -> Iterator[bytes]:
    """Serialized requests without end, with an event of its own each.

    Every action has a vector of standard normal numbers, the context two numbers and a category.

    Args:
        features: length of the vectors; 0 for actions without features.
    """
    rng = np.random.default_rng(seed)
    bodies = cycle([_request(rng, app, actions, features) for _ in range(_DIFFERENT)])
    run = token_hex(8)  # nobody else's events have it
    for number, body in enumerate(bodies):
        # Fields of a message may come in any order, so the event can be appended to what is serialized already.
        event = api.RankRequest(event_id=f"load-{run}-{number}")
        yield body + event.SerializeToString()


def _request(rng: np.random.Generator, app: str, actions: int, features: int) -> bytes:
    asked = api.RankRequest(app=app, action_ids=[f"load-{k}" for k in range(actions)])
    hour, age = rng.uniform(0, 24), rng.uniform(18, 80)
    asked.context.add(
        numeric_names=["hour", "age"],
        numeric_values=[hour, age],
        categorical_names=["device"],
        categorical_values=[str(rng.choice(["phone", "tablet", "desktop"]))],
    )
    if features:
        vectors = rng.normal(size=(actions, features)).astype("<f4")
        asked.action_features.add(vector_size=features, vector_data=vectors.tobytes())
    return asked.SerializeToString()


def reward_request(app: str, reply: bytes, value: float) -> bytes:
    """The serialized reward of an answered call."""
    decided = api.RankReply.FromString(reply)
    reward = api.RewardRequest(
        app=app,
        event_id=decided.event_id,
        decision_id=decided.decision_id,
        reward_id=f"{decided.event_id}-reward",
        value=value,
    )
    return reward.SerializeToString()
