"""What the readers of Parquet files share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from simulator.logs.batches import parquet_count
from simulator.logs.lines import FileLog

if TYPE_CHECKING:
    from collections.abc import Iterator

R = TypeVar("R")


class ParquetFile(FileLog):
    """A Parquet file, which says how many rows it has."""

    _rows = 0  # read in the last pass
    _count: int | None = None

    @property
    def share(self) -> float | None:
        """How many of the rows the last pass has read, in [0, 1]; None before the first."""
        return None if self._count is None else min(1.0, self._rows / max(1, self._count))

    def counted(self, rows: Iterator[tuple[int, R]]) -> Iterator[tuple[int, R]]:
        """The rows, numbered from 1, which are noted as they are read."""
        self._count = parquet_count(self.name)
        for number, row in rows:
            self._rows = number
            yield number, row
