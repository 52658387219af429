"""What a learner reads, whichever way it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from rankd.v1 import internal_pb2
    from server.fold.records import LogRecord


class Log(Protocol):
    """What a learner reads: the journal, or an app's merged topic. See JournalReader."""

    def changed(self) -> bool: ...

    def snapshot(self) -> AbstractContextManager[None]: ...

    def bounds(self) -> tuple[int, int]: ...

    def records(
        self, after: int, through: int | None = None, kind: int | None = None
    ) -> Iterator[LogRecord]: ...

    def read(self, sequence: int) -> LogRecord: ...

    def oldest(self, kind: int, app: str) -> LogRecord | None: ...

    def size_bytes(self) -> int: ...

    def first_at_or_after(self, log_time_us: int) -> int: ...


class MergedLog(Log, Protocol):
    """A log that was merged from a topic. See MirrorReader."""

    def merge_state(self, at_most: int) -> internal_pb2.MergeState:
        """Where a merge has to begin to make the records after that one."""
