"""What `rankd log export` writes (JSONL), as a log to read: enough of it to join decisions and rewards.

Nothing here reads models, so an export of a trimmed log, which begins with a sealed checkpoint, is refused:
`rankd.commands.sources` opens it, and `RankdLog` takes what that returns.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.exports.lines import record_of
from server.fold.records import LogError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from rankd.v1 import internal_pb2
    from server.fold.records import LogRecord

FORMAT = 1
MARK = b'{"rankd_export":'


class ExportRecords:
    """The records of an export: a LogSource without models. Keeps places in memory, 16 bytes a record.

    A last line that was cut short is passed over.

    Raises (all methods):
        LogError: a line is malformed (the message has its number), or a record is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        with self._path.open("rb") as file:
            first = file.readline()
        try:
            header = json.loads(first)
            form, after = header["rankd_export"], header["after"]
            self._apps = [str(name) for name in header["apps"]]
            self._filtered = bool(header["app"])
        except (ValueError, KeyError, TypeError) as error:
            raise LogError(f"{path}: its first line is not that of an export") from error
        if form != FORMAT:
            raise LogError(f"{path}: export format {form}; this rankd reads format {FORMAT}")
        if after:
            raise LogError(
                f"{path}: of a log that was trimmed; it begins with a checkpoint, which only the rankd command opens"
            )
        self._sequences, self._offsets = array("Q"), array("Q")  # of the records met so far

    def apps(self) -> list[str]:
        return self._apps

    def base(self, app: str) -> internal_pb2.Checkpoint | None:
        return None

    def artefact(self, sha256: str) -> bytes:
        raise LogError(f"{self._path}: models are not read here")

    def checkpoints(self, app: str) -> dict[int, str]:
        return {}

    def records(self, after: int) -> Iterator[LogRecord]:
        last = count = offset = 0
        with self._path.open("rb") as file:
            for number, data in enumerate(file, 1):
                at, offset = offset, offset + len(data)
                line = self._object(data, number)
                if line is None:
                    return
                if "sequence" not in line:
                    if line.get("rankd_export_end", count) != count:
                        raise LogError(
                            f"{self._where(number)}: {count} records come before this line, which says "
                            f"{line['rankd_export_end']}; some were removed or added"
                        )
                    continue
                try:
                    record = record_of(line)
                except ValueError as error:
                    raise LogError(f"{self._where(number)}: not a record: {error}") from error
                if record.sequence <= last or not (self._filtered or record.sequence == last + 1):
                    raise LogError(
                        f"{self._where(number)}: record {record.sequence} follows record {last}"
                    )
                last, count = record.sequence, count + 1
                if not self._sequences or last > self._sequences[-1]:
                    self._sequences.append(last)
                    self._offsets.append(at)
                if last > after:
                    yield record

    def read(self, sequence: int) -> LogRecord:
        """A record that `records` has come by."""
        i = bisect_left(self._sequences, sequence)
        if i == len(self._sequences) or self._sequences[i] != sequence:
            raise LogError(f"{self._path}: record {sequence} has not been met")
        with self._path.open("rb") as file:
            file.seek(self._offsets[i])
            return record_of(json.loads(file.readline()))

    def _object(self, data: bytes, number: int) -> dict[str, Any] | None:
        """The line's object; None of a last line that was cut short."""
        try:
            line = json.loads(data)
        except ValueError as error:
            if not data.endswith(b"\n"):
                return None
            raise LogError(f"{self._where(number)}: not JSON: {error}") from error
        if not isinstance(line, dict):
            raise LogError(f"{self._where(number)}: not a JSON object")
        return line

    def _where(self, number: int) -> str:
        return f"{self._path}, line {number}"
