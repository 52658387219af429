"""Percentiles are exact where buckets are, near elsewhere, and those of several processes are those of all calls."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankd.load.histogram import Histogram, bucket, highest

LATENCIES = st.integers(0, 3_600_000_000)  # up to an hour, microseconds
QS = [0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0]


def of(values: list[int]) -> Histogram:
    found = Histogram()
    for us in values:
        found.record(us)
    return found


def exact(values: list[int], q: float) -> int:
    """The least value that at least q percent do not exceed."""
    return sorted(values)[max(0, ceil(len(values) * q / 100) - 1)]


@given(st.lists(st.integers(0, 255), min_size=1))
def test_small_values_are_exact(values: list[int]) -> None:
    found = of(values)
    assert found.percentiles(QS) == [exact(values, q) for q in QS]
    assert found.mean == pytest.approx(sum(values) / len(values))
    assert found.max == max(values)


@given(st.lists(LATENCIES, min_size=1))
def test_others_are_never_below_and_hardly_above(values: list[int]) -> None:
    for q, us in zip(QS, of(values).percentiles(QS), strict=True):
        assert exact(values, q) <= us <= exact(values, q) * (1 + 1 / 128)


@given(LATENCIES)
def test_a_value_is_in_its_bucket(us: int) -> None:
    number = bucket(us)
    assert highest(number - 1) < us <= highest(number) if number else us == 0


@given(st.lists(st.lists(LATENCIES)))
def test_merged_is_the_same_as_all_in_one(parts: list[list[int]]) -> None:
    merged = Histogram()
    for part in parts:
        merged.add(of(part))
    assert merged == of([us for part in parts for us in part])


def test_percentiles_come_in_the_order_asked() -> None:
    assert of([1, 2, 3, 4]).percentiles([100, 25, 50, 25]) == [4, 1, 2, 1]


def test_nothing_recorded_is_zero() -> None:
    assert Histogram().percentiles(QS) == [0] * len(QS)
    assert Histogram().mean == 0


def test_a_clock_that_jumps_back_counts_as_zero() -> None:
    assert of([-5]).percentile(100) == 0
