"""Who is refused while there is too much to do, and when they may come again."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from server.serving.admission import Admission

LIMIT = 0.5


def test_nobody_is_refused_before_a_probe_was_late() -> None:
    admission = Admission(LIMIT)
    assert not admission.refuses(0.0)
    admission.sent(0.0)
    assert not admission.refuses(LIMIT)
    assert admission.refuses(LIMIT + 0.001)


def test_a_probe_on_its_way_is_no_reason_to_let_in_again() -> None:
    """Until one has been answered in time."""
    admission = Admission(LIMIT)
    admission.sent(0.0)
    admission.answered(2.0)
    assert admission.refuses(2.0)
    admission.sent(2.0)
    assert admission.refuses(2.1)
    admission.answered(2.2)
    assert not admission.refuses(2.2)


@given(
    delays=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=20), seed=st.integers(0, 2**32 - 1)
)
def test_who_is_refused_comes_back_when_what_waits_now_is_done(
    delays: list[float], seed: int
) -> None:
    random.seed(seed)
    admission = Admission(LIMIT)
    now = 0.0
    for delay in delays:
        admission.sent(now)
        now += delay
        admission.answered(now)
        assert admission.refuses(now) == (admission.delay(now) > LIMIT)
        assert delay * 0.999 <= admission.retry_after(now) <= 2.001 * max(delay, 0.05)
    assert admission.calls == len(delays)
