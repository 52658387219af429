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


# -- several journals ------------------------------------------------------------------------------

heard = st.lists(
    st.tuples(
        st.integers(0, 3 * SECOND),  # since the record before
        st.sampled_from([("a", 0), ("a", 1), ("b", 0), ("c", 0), None]),
        st.integers(0, 20 * SECOND),  # how long it waited in its journal
        st.sampled_from([None, None, None, "a", "b"]),  # who is given up after it
    ),
    max_size=40,
)


@given(heard)
def test_windows_close_no_further_than_every_stream_was_heard(
    log: list[tuple[int, tuple[str, int] | None, int, str | None]],
) -> None:
    clock, stamp, before = LogClock(5 * SECOND), 0, 0
    for step, stream, lag, given_up in log:
        stamp += step
        times = clock.advance(stamp, stream, lag)
        assert before <= times.due <= times.at <= clock.now_us
        assert times.due == max(
            [before, *([min(clock.heard_us.values())] if clock.heard_us else [clock.now_us])]
        )
        if stream is not None:
            assert clock.heard_us[stream] >= clock.now_us - lag
        if given_up is not None:
            clock.fence(given_up)
            assert all(folder != given_up for folder, _ in clock.heard_us)
        before = clock.due_us
        assert before >= times.due


@given(heard, heard)
def test_it_goes_on_from_where_it_was_saved_with_all_its_streams(
    first: list[tuple[int, tuple[str, int] | None, int, str | None]],
    then: list[tuple[int, tuple[str, int] | None, int, str | None]],
) -> None:
    whole, stamp = LogClock(5 * SECOND), 0
    for step, stream, lag, _ in first:
        stamp += step
        whole.advance(stamp, stream, lag)
    saved = LogClock(5 * SECOND, whole.now_us, whole.order_us)
    saved.restore(whole.due_us, whole.heard_us.items())
    for step, stream, lag, given_up in then:
        stamp += step
        assert saved.advance(stamp, stream, lag) == whole.advance(stamp, stream, lag)
        if given_up is not None:
            saved.fence(given_up)
            whole.fence(given_up)


def test_who_is_silent_is_told_until_he_is_given_up_or_heard() -> None:
    clock = LogClock(5 * SECOND)
    for second in range(10):
        clock.advance(second * SECOND, ("a", 0))
        if second < 4:
            clock.advance(second * SECOND, ("b", 0))
    assert clock.silent(7 * SECOND) == []
    assert clock.silent(5 * SECOND) == ["b"]
    assert clock.due_us == 3 * SECOND
    clock.fence("b")
    assert clock.silent(0) == []
    assert clock.due_us == 9 * SECOND
    clock.advance(9 * SECOND, ("b", 0), lag_us=6 * SECOND)
    assert clock.due_us == 9 * SECOND, "what was closed stays closed"
    clock.advance(12 * SECOND, ("a", 0))
    assert clock.due_us == 9 * SECOND, "and it is waited for again"
