"""How far the log may be trimmed: by age and size, but never what a kept checkpoint still needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.journal.store import JournalReader
    from server.learning.checkpoints import Checkpoints


def trim_to(
    reader: JournalReader, apps: Sequence[Checkpoints], max_age_us: int, max_bytes: int
) -> int | None:
    """The last sequence that may go, or None if nothing may.

    Every app keeps at least one checkpoint from which all that is left can be folded and verified.
    """
    first, last = reader.bounds()
    if first > last:
        return None
    wanted = reader.first_at_or_after(reader.read(last).log_time_us - max_age_us)
    size = reader.size_bytes()
    if size > max_bytes:
        wanted = max(wanted, first + int((last - first) * (1 - max_bytes / size)))
    if wanted <= first:
        return None
    keep_from = wanted
    for checkpoints in apps:
        usable = [version for version in checkpoints.versions() if version <= wanted]
        if not usable:
            return None
        keep_from = min(keep_from, checkpoints.load(usable[-1]).oldest_needed)
    return keep_from - 1 if keep_from > first else None
