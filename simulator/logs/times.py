"""Times as logs have them, as microseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000  # microseconds


def microseconds(said: object) -> int:
    """A datetime, text as in ISO 8601, or seconds since 1970. What has no zone is taken for UTC.

    >>> microseconds("1970-01-01T00:00:01.5000000Z"), microseconds(1.5), microseconds("1.5")
    (1500000, 1500000, 1500000)

    Raises:
        ValueError: it is no time.
    """
    time = said
    if isinstance(said, str):
        try:
            time = float(said)
        except ValueError:
            time = datetime.fromisoformat(said)
    if isinstance(time, datetime):
        return (time.replace(tzinfo=time.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)
    if isinstance(time, (int, float)) and not isinstance(time, bool) and abs(time) < 1e12:
        return round(time * _SECOND)
    raise ValueError(f"{said!r} is no time: seconds since 1970, or as ISO 8601 has it")
