"""A small log that has everything: features of every kind, slots, exclusions, late and missing rewards, a roll back."""

from __future__ import annotations

from typing import Any

import pytest
from numpy import array

from rankd.v1 import log_pb2 as pb
from rankd.v1.features_pb2 import ActionFeatures, Features
from tests.exports.memory_log import MemoryLog, settings

CONTEXT = Features(
    namespace="user",
    numeric_names=["age", "_rank"],
    numeric_values=[31.0, 0.1 + 0.2],
    categorical_names=["country", "tag", "tag"],
    categorical_values=["NL", "a|b: c", "é🙂\n"],
    vector_names=["taste"],
    vector_sizes=[2],
    vector_data=array([0.5, -1.25], "<f4").tobytes(),
)
ITEMS = ActionFeatures(
    namespace="item",
    numeric_counts=[1, 0, 2],
    numeric_names=["price", "price", "rating"],
    numeric_values=[9.5, 3.0, 4.5],
    vector_size=1,
    vector_data=array([1.0, 2.0, 3.0], "<f4").tobytes(),
)


def fill(log: MemoryLog, app: str = "shop", prefix: str = "e", rounds: int = 60) -> None:
    """Rounds of one second, each with one decision; two of three get a reward, every fifth has two slots."""
    for i in range(rounds):
        slots = ["top", "side"] if i % 5 == 0 else []
        asked: dict[str, Any] = {"slot_ids": slots, "excluded_ids": ["b"] if i % 7 == 3 else []}
        event = f"{prefix}{i}"
        log.rank(event, app=app, context=[CONTEXT], action_features=[ITEMS], **asked)
        if i % 3:
            log.reward(event, (i % 4) / 4, slot=slots[i % 2] if slots else "", app=app)
        log.tick()


@pytest.fixture
def log() -> MemoryLog:
    """Rolled back once; all windows but the last ten are closed; a checkpoint every 50 records."""
    log = MemoryLog()
    fill(log)
    fold = log.folds["shop"]
    version, checkpoint = list(log.saved["shop"].items())[-1]
    promotion = pb.Promotion(
        action=pb.Promotion.ACTION_ROLL_BACK,
        epoch=fold.epoch,
        model_version=version,
        state_sha256=log.keep(checkpoint.policy),
    )
    log.append(pb.KIND_PROMOTION, "shop", payload=promotion)
    fill(log, prefix="f", rounds=20)
    return log


@pytest.fixture
def two_apps() -> MemoryLog:
    log = MemoryLog(settings("news", salt="a5" * 16), settings("shop"))
    for i in range(12):
        fill(log, "news", f"n{i}-", rounds=2)
        fill(log, "shop", f"s{i}-", rounds=3)
    return log
