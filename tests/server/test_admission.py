"""Who is refused while there is too much to do, and when they may come again."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from server.serving.admission import Admission

LIMIT = 0.5


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_nobody_is_refused_before_a_probe_was_late() -> None:
    clock = Clock()
    admission = Admission(LIMIT, clock)
    assert admission.asked() is None
    admission.sent()
    clock.now = LIMIT
    assert admission.asked() is None
    clock.now += 0.001
    assert admission.asked() is not None


def test_calls_are_let_in_again_once_a_probe_was_answered_in_time() -> None:
    """One on its way is no reason to."""
    clock = Clock()
    admission = Admission(LIMIT, clock)
    admission.sent()
    clock.now = 2.0
    admission.answered()
    assert admission.busy
    assert admission.asked() is not None
    admission.sent()
    clock.now = 2.1
    assert admission.asked() is not None
    admission.answered()
    assert admission.asked() is None
    assert not admission.busy


@given(
    delays=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=20), seed=st.integers(0, 2**32 - 1)
)
def test_who_is_refused_comes_back_when_what_waits_now_is_done(
    delays: list[float], seed: int
) -> None:
    random.seed(seed)
    clock = Clock()
    admission = Admission(LIMIT, clock)
    for delay in delays:
        before = clock.now
        admission.sent()
        clock.now += delay
        admission.answered()
        delay = clock.now - before  # as far as floats tell
        again = admission.asked()
        assert (again is None) == (delay <= LIMIT)
        if again is not None:
            assert delay <= again <= 2 * delay
    assert admission.calls == len(delays)
