"""How far the log may be trimmed: by age and size, but never what a kept checkpoint still needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.learning.checkpoints import Checkpoints
    from server.learning.log import Log


def beginning(reader: Log, app: str, checkpoints: Checkpoints) -> internal_pb2.Checkpoint | None:
    """Where the fold of an app begins that is younger than a trimmed log; None if its first records are gone."""
    config, epoch = (reader.oldest(kind, app) for kind in (pb.KIND_CONFIG, pb.KIND_EPOCH))
    if epoch is None:
        young = not checkpoints.versions()
    else:
        first = pb.Epoch.FromString(epoch.payload).number == 1
        young = first and config is not None and config.sequence < epoch.sequence
    if not young:
        return None
    at = reader.bounds()[0]
    return internal_pb2.Checkpoint(app=app, version=at - 1, oldest_needed=at)


def trim_to(
    reader: Log, apps: Sequence[Checkpoints], max_age_us: int, max_bytes: int
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
        base = next((c for c in checkpoints.newest() if c.version <= wanted), None)
        if base is None:
            return None
        keep_from = min(keep_from, base.oldest_needed)
    return keep_from - 1 if keep_from > first else None
