"""Parquet files, a batch of rows at a time. The only module here that loads pyarrow, when it is first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.logs.events import LogFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Rows in memory at once.
BATCH = 1_024
# Bytes of each column that are read at once, so that a file of one row group is not in memory as a whole.
_BUFFER = 1 << 20


def parquet_columns(path: str) -> list[str]:
    """Names of the columns.

    Raises:
        LogFormatError: it is no Parquet file, or pyarrow is not installed.
    """
    with _open(path) as file:
        return list(file.schema_arrow.names)


def parquet_count(path: str) -> int:
    """How many rows there are.

    Raises:
        LogFormatError: as above.
    """
    with _open(path) as file:
        return int(file.metadata.num_rows)


def parquet_rows(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, cells by column) of each row, in Python's own types.

    Raises:
        LogFormatError: as above, or the file is damaged.
    """
    number = 0
    with _open(path) as file:
        batches = _batches(file)
        while True:
            try:
                batch = next(batches, None)
                rows = [] if batch is None else batch.to_pylist()
            except (OSError, ValueError) as error:  # pyarrow's own errors are these
                raise LogFormatError(
                    f"{path}, after row {number}: {error}; copy the file again"
                ) from error
            if batch is None:
                break
            for row in rows:
                number += 1
                yield number, row
    _release()


def _batches(file: Any) -> Iterator[Any]:
    """One row group after the other: a reader of all of them keeps what it has read of each, 60 MB of half a million rows."""
    for group in range(file.metadata.num_row_groups):
        yield from file.iter_batches(BATCH, row_groups=[group])


def _release() -> None:
    """Gives back what pyarrow keeps for the next file: 50 MB after a million rows, which the evaluation that follows can do with."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()


def _open(path: str) -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise LogFormatError(
            f"{path}: Parquet needs pyarrow: pip install 'rankd[parquet]'"
        ) from error
    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
    except ValueError as error:
        raise LogFormatError(
            f"{path}: not a whole Parquet file ({error}); if it was cut short, nothing of it can be read: copy it again"
        ) from error
