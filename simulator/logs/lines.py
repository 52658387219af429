"""A log's file, line by line, in as much memory as its longest line takes."""

from __future__ import annotations

import gzip
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.logs.events import LogFormatError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from typing import BinaryIO

    from simulator.logs.events import Event

GZIP = b"\x1f\x8b"


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, unpacked if it was packed by gzip."""
    file = path.open("rb")
    packed = file.read(len(GZIP)) == GZIP
    file.seek(0)
    if not packed:
        return file
    file.close()
    return gzip.open(path, "rb")  # type: ignore[return-value]  # it has all that is used here


def numbered(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text without its end) of each line.

    Raises:
        LogFormatError: a line is not UTF-8, or the file is not all there (gzip).
    """
    number = 0
    with open_bytes(path) as file:
        try:
            for number, data in enumerate(file, 1):
                yield number, data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise LogFormatError(f"{path}, line {number}: not UTF-8 text") from error
        except EOFError as error:
            raise LogFormatError(f"{path}, after line {number}: the file was cut short") from error


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

    def __init__(
        self, path: str | os.PathLike[str], reward_range: tuple[float, float] | None = None
    ) -> None:
        self.path = Path(path)
        self.reward_range = reward_range
        self.counters: Counter[str] = Counter()

    @property
    def name(self) -> str:
        return str(self.path)

    def __iter__(self) -> Iterator[Event]:
        self.counters = Counter()
        return self.events()

    def events(self) -> Iterator[Event]:
        """The events from the beginning; counts into `counters`."""
        raise NotImplementedError
