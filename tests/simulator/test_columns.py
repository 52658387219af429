"""Columns that grow: the same numbers as a list would hold, in less memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.columns import Columns, Width

NAN = float("nan")
BLOCK = 1_024  # rows after which they are put into columns


@given(st.lists(st.tuples(st.floats(), st.sampled_from([0.1, NAN]))))
def test_they_hold_what_was_appended(rows: list[tuple[float, float]]) -> None:
    columns = Columns([Width.EXACT] * 2)
    for row in rows:
        columns.append(row)
    expected = np.array(rows, np.float64).reshape(-1, 2).T
    assert np.array_equal(np.array(columns.arrays()), expected, equal_nan=True)


def test_a_column_of_one_value_takes_no_memory_however_long() -> None:
    columns = Columns([Width.EXACT] * 3)
    for i in range(3 * BLOCK):
        columns.append((NAN, 0.1, float(i)))
    unknown, same, other = columns.arrays()
    assert unknown.strides == same.strides == (0,)
    assert np.isnan(unknown).all()
    assert (same == 0.1).all()
    assert other.tolist() == list(range(3 * BLOCK))


def test_a_value_that_changes_late_is_not_lost() -> None:
    for first, then in ((0.5, 0.25), (NAN, 0.5), (0.5, NAN)):
        columns = Columns([Width.EXACT] * 1)
        for i in range(2 * BLOCK + 1):
            columns.append([then if i == 2 * BLOCK else first])
        (column,) = columns.arrays()
        assert np.array_equal(column[:-1], np.full(2 * BLOCK, first), equal_nan=True)
        assert np.array_equal(column[-1:], [then], equal_nan=True)


@given(
    st.lists(st.floats(allow_nan=False), min_size=2, max_size=5).filter(lambda v: len(set(v)) > 1)
)
def test_half_as_many_bytes_are_rounded_as_asked(numbers: list[float]) -> None:
    columns = Columns([Width.NEAREST, Width.UP, Width.DOWN])
    for number in numbers:
        columns.append([number] * 3)
    near, up, down = columns.arrays()
    exact = np.array(numbers)
    assert near.dtype == up.dtype == down.dtype == np.float32
    assert (up >= exact).all()
    assert (down <= exact).all()
    assert ((near == up) | (near == down)).all()
    with np.errstate(over="ignore"):
        assert ((up == down) | (np.nextafter(down, np.float32(np.inf)) == up)).all()
