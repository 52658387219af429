"""Where a trial finds its log: a value that pickles, and opens the log wherever the trial is run."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from simulator.logs import open_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from simulator.logs import Columns, Log


@runtime_checkable
class Source(Protocol):
    """A log that is not open yet."""

    def open(self) -> AbstractContextManager[Log]:
        """The log, for as long as the context lasts."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file that `open_log` reads. On a cluster it must be under this path on every machine."""

    path: str | os.PathLike[str]
    columns: Columns | None = None
    reward_range: tuple[float, float] | None = None

    @contextmanager
    def open(self) -> Iterator[Log]:
        yield open_log(self.path, columns=self.columns, reward_range=self.reward_range)


@dataclass(frozen=True, slots=True)
class Opened:
    """A log that is at hand: arrays, or anything that can be read again and again and pickles, where there are several jobs."""

    log: Log

    @contextmanager
    def open(self) -> Iterator[Log]:
        yield self.log


def source_of(what: Source | Log | str | os.PathLike[str]) -> Source:
    """Whatever it is, as a source."""
    if isinstance(what, (str, os.PathLike)):
        return FileSource(what)
    return what if isinstance(what, Source) else Opened(what)
