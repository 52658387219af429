"""Rows of numbers that keep coming, as columns: 8 bytes a number, and none for a column whose numbers are all the same.

What a log does not tell is NaN in each row; a uniform log has one propensity. At 10 million rows each such column would
otherwise cost 80 MB.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Rows that are gathered before they become columns: enough that numpy's cost for each call is nothing beside them.
_BLOCK = 1_024


class Columns:
    """Rows of `width` numbers, to be appended one at a time.

    >>> columns = Columns(2)
    >>> columns.append([1.0, 5.0])
    >>> columns.append([2.0, 5.0])
    >>> [column.tolist() for column in columns.arrays()]
    [[1.0, 2.0], [5.0, 5.0]]
    """

    def __init__(self, width: int) -> None:
        self._block: list[Sequence[float]] = []
        self._columns = [_Column() for _ in range(width)]

    def append(self, row: Sequence[float]) -> None:
        """Takes one row in."""
        self._block.append(row)
        if len(self._block) == _BLOCK:
            self._flush()

    def arrays(self) -> list[NDArray[np.float64]]:
        """The columns, [n] each: all rows so far. A column of one value is a view of that, and cannot be written to.

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

    def __init__(self) -> None:
        self._count = 0
        self._same = 0.0
        self._values: array[float] | None = None

    def extend(self, numbers: NDArray[np.float64]) -> None:
        """Takes in at least one number."""
        if not self._count:
            self._same = float(numbers[0])
        if self._values is None and not self._repeats(numbers):
            self._values = array("d", [self._same]) * self._count
        if self._values is not None:
            self._values.frombytes(numbers.tobytes())
        self._count += len(numbers)

    def values(self) -> NDArray[np.float64]:
        """[n]."""
        if self._values is None:
            return np.broadcast_to(np.float64(self._same), self._count)
        return np.frombuffer(self._values, np.float64)

    def _repeats(self, numbers: NDArray[np.float64]) -> bool:
        """Whether all are the value that there was; NaN is NaN."""
        same = self._same
        return bool((np.isnan(numbers) if same != same else numbers == same).all())
