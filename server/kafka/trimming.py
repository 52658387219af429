"""Retention of a journal that is copied to Kafka, where the log is kept: what has been copied goes by age and size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.sections import microseconds

if TYPE_CHECKING:
    from server.journal.client import JournalClient
    from server.journal.store import JournalReader
    from server.sections import LogConfig

# Records dropped in one go: about 10 ms, for which appends wait.
_STEP = 2_000


def trim_to(reader: JournalReader, shipped: int, config: LogConfig) -> int | None:
    """The last sequence that may go, or None if nothing may.

    Args:
        shipped: what comes after it is not in Kafka yet.
    """
    first, last = reader.bounds()
    if first > last:
        return None
    young = reader.read(last).log_time_us - microseconds(config.max_age)
    through = reader.first_at_or_after(young) - 1
    size = reader.size_bytes()
    if size > config.max_bytes:
        through = max(through, first + int((last - first) * (1 - config.max_bytes / size)) - 1)
    through = min(through, shipped)
    return through if through >= first else None


async def trim(journal: JournalClient, first: int, through: int) -> None:
    """Drops the records from `first` to `through` in steps. Raises JournalUnavailableError."""
    for end in (*range(first + _STEP, through, _STEP), through):
        await journal.trim(end)
