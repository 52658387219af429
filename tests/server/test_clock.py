"""The log's clock counts running time only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.fold.clock import LogClock

SECOND = 1_000_000
steps = st.lists(st.integers(-10 * SECOND, 3_600 * SECOND), max_size=50)


@pytest.mark.parametrize(
    ("stamps", "running"),
    [
        ([7 * SECOND], 0),
        ([0, SECOND, 2 * SECOND], 2 * SECOND),
        ([0, 5 * SECOND], 5 * SECOND),
        ([0, 5 * SECOND + 1], 5 * SECOND),
        ([0, 86_400 * SECOND, 86_401 * SECOND], 6 * SECOND),
        # A clock that is set back stands still until it has caught up.
        ([0, 3 * SECOND, SECOND, 2 * SECOND, 4 * SECOND], 4 * SECOND),
    ],
    ids=["first", "seconds", "cap", "over the cap", "outage", "set back"],
)
def test_running_time(stamps: list[int], running: int) -> None:
    clock = LogClock(cap_us=5 * SECOND)
    for stamp in stamps:
        clock.advance(stamp)
    assert clock.now_us == running


@given(steps, st.integers(0, 10 * SECOND))
def test_it_never_falls_and_never_outruns_the_cap(differences: list[int], cap: int) -> None:
    clock, stamp, before = LogClock(cap), 0, 0
    for difference in differences:
        stamp += difference
        now = clock.advance(stamp).due
        assert before <= now <= before + cap
        before = now


@given(steps, steps)
def test_it_goes_on_from_where_it_was_saved(first: list[int], then: list[int]) -> None:
    whole, saved, stamp = LogClock(SECOND), LogClock(SECOND), 0
    for difference in first:
        stamp += difference
        whole.advance(stamp)
        saved.advance(stamp)
    saved = LogClock(SECOND, saved.now_us, saved.order_us)
    for difference in then:
        stamp += difference
        assert saved.advance(stamp) == whole.advance(stamp)
