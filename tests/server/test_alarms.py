"""What operators are told to look at, and that the operations page says what to do about each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from server.serving.alarms import alarms

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
SHIPPED = {"kafka": True, "lag_records": 0, "lag_seconds": 0.0}
NODE = {"host": "a:1", "at": 100.0, "shipped": SHIPPED}
BOARD: dict[str, Any] = {"redis": True, "at": 100.0, "forged": 0, "nodes": {"folder": NODE}}
DRIFT: dict[str, Any] = {
    "detector": "adwin",
    "on": "residual",
    "action": "restart",
    "learned": 5_250,
    "detections": 2,
    "last": 4_000,
    "recent": True,
    "exploring_until": 0,
    "restarted": 4_000,
}
WELL: dict[str, Any] = {
    "status": {"following": {"kafka": True, "error": ""}, "silent_nodes": []},
    "status_age": 0.5,
    "lag_seconds": 0.1,
    "shipped": SHIPPED,
    "board": BOARD,
    "board_age": 0.5,
}


def ids(**changed: Any) -> set[str]:
    return {alarm.id for alarm in alarms(**{**WELL, **changed})}


def test_all_is_well() -> None:
    assert ids() == set()


def test_alone_there_is_no_kafka_and_no_redis_to_miss() -> None:
    assert ids(status={}, shipped=None, board=None) == set()


TROUBLES: list[tuple[str, dict[str, Any]]] = [
    ("learner-silent", {"status_age": 6.0}),
    ("learner-behind", {"lag_seconds": 31.0}),
    ("log-stopped", {"status": {"following": {"kafka": False, "error": "a hole"}}}),
    ("kafka-away", {"status": {"following": {"kafka": False, "error": ""}}}),
    ("kafka-away", {"shipped": {**SHIPPED, "kafka": False}}),
    ("ship-lag", {"shipped": {**SHIPPED, "lag_records": 7, "lag_seconds": 31.0}}),
    ("node-silent", {"status": {"silent_nodes": ["folder"]}}),
    ("relay-silent", {"board_age": 6.0}),
    ("redis-away", {"board": {**BOARD, "redis": False}}),
    ("forged", {"board": {**BOARD, "forged": 1}}),
    ("drift", {"status": {"drift": DRIFT}}),
    ("node-gone", {"board": {**BOARD, "at": 131.0}}),
]


@pytest.mark.parametrize(("expected", "changed"), TROUBLES)
def test_each_trouble_has_its_alarm(expected: str, changed: dict[str, Any]) -> None:
    assert ids(**changed) == {expected}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "the policy's errors became larger 1,250 interactions ago, says adwin; an untrained policy took over"),
        ({"restarted": 0}, "the policy's errors became larger 1,250 interactions ago, says adwin; too soon after the last restart for another"),
        ({"on": "reward", "action": "alert"}, "rewards became lower 1,250 interactions ago, says adwin; nothing was done"),
    ],
)  # fmt: skip
def test_drift_says_what_was_seen_and_done(changed: dict[str, Any], text: str) -> None:
    status = {"drift": {**DRIFT, **changed}}
    assert [alarm.text for alarm in alarms(**{**WELL, "status": status})] == [text]


def test_drift_that_is_long_past_is_no_alarm() -> None:
    assert ids(status={"drift": {**DRIFT, "recent": False}}) == set()


def test_the_page_says_what_to_do() -> None:
    named = set(re.findall(r"`([a-z-]+)`", PAGE.read_text()))
    assert {name for name, _ in TROUBLES} <= named
