"""The schedule is open loop: it knows nothing of answers, and several processes keep the same one together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankd.load.plan import Plan, due, shares
from rankd.load.run import split

PLAN = Plan(
    target="localhost:1",
    app="",
    seconds=10.0,
    rate=7.0,
    closed=0,
    connections=8,
    actions=3,
    features=0,
    rewards=0.0,
    low=0.0,
    high=1.0,
    timeout=5.0,
)


@given(st.floats(0.1, 2_000), st.floats(0.01, 5), st.integers(1, 16))
def test_processes_together_keep_the_rate(rate: float, seconds: float, processes: int) -> None:
    plan = replace(PLAN, rate=rate, seconds=seconds, connections=64)
    together = sorted(at for each in split(plan, processes) for at in due(each))
    assert together == list(due(plan))
    assert together == [n / rate for n in range(len(together))]
    assert together[-1] < seconds <= len(together) / rate


def test_the_whole_schedule_is_known_before_anything_is_sent() -> None:
    assert list(due(PLAN)) == list(due(PLAN))
    assert len(list(due(PLAN))) == 70


@pytest.mark.parametrize("closed", [0, 3, 20])
def test_processes_share_connections_and_calls_in_flight(closed: int) -> None:
    plans = split(replace(PLAN, closed=closed), 5)
    assert sum(plan.connections for plan in plans) == PLAN.connections
    assert sum(plan.closed for plan in plans) == closed
    assert all(plan.connections for plan in plans)
    assert all(bool(plan.closed) == bool(closed) for plan in plans)
    assert [plan.process for plan in plans] == list(range(plans[0].processes))


@given(st.integers(0, 1000), st.integers(1, 50))
def test_shares_are_as_equal_as_can_be(whole: int, parts: int) -> None:
    found = shares(whole, parts)
    assert (sum(found), len(found)) == (whole, parts)
    assert max(found) - min(found) <= 1
