"""A log's file, line by line, in as much memory as its longest line takes."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from simulator.logs.events import LogFormatError, Skipped

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from simulator.logs.events import Event

GZIP = b"\x1f\x8b"
# What reading raises of a gzip file that is not all there, or not what it was.
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


def is_packed(path: Path) -> bool:
    """Whether the file was packed by gzip."""
    with path.open("rb") as file:
        return file.read(len(GZIP)) == GZIP


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, unpacked if it was packed by gzip."""
    if not is_packed(path):
        return path.open("rb")
    return gzip.open(path, "rb")  # type: ignore[return-value]  # it has all that is used here


def head(path: Path, size: int) -> bytes:
    """The file's first bytes, unpacked.

    Raises:
        LogFormatError: it is a gzip file that was cut short there or is damaged.
    """
    with open_bytes(path) as file:
        try:
            return file.read(size)
        except _DAMAGED as error:
            raise _damaged(path, error, 0) from error


def _damaged(path: Path, error: Exception, number: int) -> LogFormatError:
    return LogFormatError(
        f"{path}, after line {number}: the gzip file was cut short or is damaged ({error}): copy it again; "
        "`gzip -dc` gives what can be read of it"
    )


class Line(NamedTuple):
    """One line of a text file."""

    number: int  # from 1
    text: str  # with its end
    last: bool  # whether it is the last and has no end, so it may not be all there

    @property
    def unfinished(self) -> bool:
        """Whether what is wrong with it may be that it was not written to its end. A file of one line is no such case."""
        return self.last and self.number > 1


def lines(path: Path, opened: Callable[[BinaryIO], None] | None = None) -> Iterator[Line]:
    """The lines of a text file in UTF-8.

    A character that was cut at the very end of a file is left out.

    Args:
        opened: is given the file once it is open, before it is unpacked: where that stands tells how much has been read.

    Raises:
        LogFormatError: a line is not UTF-8, or the file is not all there (gzip).
    """
    number = 0
    with open_bytes(path) as file:
        if opened is not None:
            opened(getattr(file, "fileobj", file))  # gzip's own has the packed one
        for data in _read(path, file):
            number += 1
            last = not data.endswith(b"\n")
            yield Line(number, _decoded(path, data, number, last), last)


def _read(path: Path, file: BinaryIO) -> Iterator[bytes]:
    number = 0
    try:
        for data in file:
            number += 1
            yield data
    except _DAMAGED as error:
        raise _damaged(path, error, number) from error


def _decoded(path: Path, data: bytes, number: int, last: bool) -> str:
    codec = "utf-8-sig" if number == 1 else "utf-8"
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        if last and number > 1 and error.end == len(data) and error.reason.startswith("unexpected"):
            return data[: error.start].decode(codec)
        raise LogFormatError(
            f"{path}, line {number}: not UTF-8 text; convert it, as by `iconv -f LATIN1 -t UTF-8`"
        ) from error


@contextmanager
def line(name: str, number: int, what: str = "line") -> Iterator[None]:
    """Whatever is refused within is refused with the log's name and the line."""
    try:
        yield
    except LogFormatError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        # A file may have null, a list or an object wherever a number should be: that is a TypeError.
        raise LogFormatError(f"{name}, {what} {number}: {error}") from error


class FileLog:
    """What the readers of files share: see `events.Log`.

    Args:
        path: of the file; text may be packed by gzip.
        reward_range: (lowest, highest) reward that can be, where it is known.
    """

    what = "line"
    """What is counted by the numbers in its messages, and by `Decided.at`."""
    deadline, closed_to = 0.0, 1.0
    """A decision is final before the next one is made: see `simulator.waiting.Windowed`."""

    def __init__(
        self, path: str | os.PathLike[str], reward_range: tuple[float, float] | None = None
    ) -> None:
        self.path = Path(path)
        self.reward_range = reward_range
        self.counters: Counter[str] = Counter()
        self._file: BinaryIO | None = None  # that was opened last

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def share(self) -> float | None:
        """How much of the file the last pass has read, in [0, 1]; None where that is not known."""
        if self._file is None:
            return None
        if self._file.closed:
            return 1.0
        return min(1.0, self._file.tell() / max(1, self.path.stat().st_size))

    def lines(self) -> Iterator[Line]:
        """Of the file, which is noted as it is read."""
        return lines(self.path, self._note)

    def _note(self, file: BinaryIO) -> None:
        self._file = file

    def __iter__(self) -> Iterator[Event]:
        self.counters = Counter()
        return self.events()

    def cut_short(self) -> None:
        """Notes that the last line is not all there. A file may be read twice in one pass, and has one such line."""
        self.counters[Skipped.CUT_SHORT] = 1

    def events(self) -> Iterator[Event]:
        """The events from the beginning; counts into `counters`."""
        raise NotImplementedError
