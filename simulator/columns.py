"""Rows of numbers that keep coming, as columns: 8 bytes a number or 4, and none for a column whose numbers are all the same.

What a log does not tell is NaN in each row; a uniform log has one propensity. At 10 million rows each such column would
otherwise cost 80 MB.
"""

from __future__ import annotations

from array import array
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Rows that are gathered before they become columns: enough that numpy's cost for each call is nothing beside them.
_BLOCK = 1_024


class Width(Enum):
    """How many bytes a number of a column has, and which way it is rounded to have no more."""

    EXACT = 0
    """8 bytes."""
    NEAREST = 1
    """4 bytes: off by 6e-8 of itself at most."""
    UP = 2
    """4 bytes, never below the number: for a bound from above."""
    DOWN = 3
    """4 bytes, never above the number: for a bound from below."""


class Columns:
    """Rows of numbers, to be appended one at a time; `widths` says how each column keeps its own.

    >>> columns = Columns([Width.EXACT, Width.UP])
    >>> columns.append([1.0, 5.0])
    >>> columns.append([2.0, 5.0])
    >>> [column.tolist() for column in columns.arrays()]
    [[1.0, 2.0], [5.0, 5.0]]
    """

    def __init__(self, widths: Sequence[Width]) -> None:
        self._block: list[Sequence[float]] = []
        self._columns = [_Column(width) for width in widths]

    def append(self, row: Sequence[float]) -> None:
        """Takes one row in."""
        self._block.append(row)
        if len(self._block) == _BLOCK:
            self._flush()

    def arrays(self) -> list[NDArray[Any]]:
        """The columns, [n] each: all rows so far. A column of one value is a view of that, of float64, and cannot be written to.

        No row can be appended after it.
        """
        self._flush()
        return [column.values() for column in self._columns]

    def _flush(self) -> None:
        if self._block:
            rows = np.array(self._block, np.float64)
            for column, numbers in zip(self._columns, rows.T, strict=True):
                column.extend(numbers)
            self._block = []


class _Column:
    """Numbers, held as one value and a count until another value comes."""

    def __init__(self, width: Width) -> None:
        self._width = width
        self._count = 0
        self._same = 0.0
        self._values: array[float] | None = None

    def extend(self, numbers: NDArray[np.float64]) -> None:
        """Takes in at least one number."""
        if not self._count:
            self._same = float(numbers[0])
        if self._values is None and not self._repeats(numbers):
            same = self._kept(np.array([self._same]))
            self._values = array(same.dtype.char, same.tolist()) * self._count
        if self._values is not None:
            self._values.frombytes(self._kept(numbers).tobytes())
        self._count += len(numbers)

    def values(self) -> NDArray[np.floating]:
        """[n]."""
        if self._values is None:
            return np.broadcast_to(np.float64(self._same), self._count)
        return np.frombuffer(self._values, np.dtype(self._values.typecode))

    def _kept(self, numbers: NDArray[np.float64]) -> NDArray[np.floating]:
        if self._width is Width.EXACT:
            return numbers
        with np.errstate(over="ignore"):  # beyond the greatest of them is inf, a bound as well
            near = numbers.astype(np.float32)
            if self._width is Width.UP:
                return np.where(near < numbers, np.nextafter(near, np.float32(np.inf)), near)
            if self._width is Width.DOWN:
                return np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near)
        return near

    def _repeats(self, numbers: NDArray[np.float64]) -> bool:
        """Whether all are the value that there was; NaN is NaN."""
        same = self._same
        return bool((np.isnan(numbers) if same != same else numbers == same).all())
