"""The whole log as JSON lines: what `rankd verify` can check far from the server that wrote it.

    {"rankd_export": 1, "app": "", "after": 0, "apps": [...], "checkpoints": {app: {version: sha256}}}
    {"checkpoint": app, "version": ..., "sealed": base64}   where the fold starts, if the log was trimmed
    {"artefact": sha256, "state": base64}                   each before the first record that refers to it
    {"sequence": 1, "kind": "KIND_CONFIG", ..., "payload": {...}}
    {"rankd_export_end": number of records}

Models stand in lines of their own, so that neither side ever holds more than one of them.
"""

from __future__ import annotations

import json
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

from policies import state_sha256
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.exports.lines import line_of, payload_of, record_of
from server.fold.envelope import EnvelopeError, seal, unseal
from server.fold.records import LogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from server.fold.records import LogRecord
    from server.fold.verify import LogSource

FORMAT = 1
# How every export begins.
MARK = b'{"rankd_export":'

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def write_jsonl(source: LogSource, out: BinaryIO, app: str | None = None) -> int:
    """Writes the log; returns the number of records.

    Args:
        app: leave out the records of all other apps. Ticks, which belong to none, stay.

    Raises:
        LogError: the log cannot be read.
    """
    apps = [name for name in source.apps() if app in (None, name)]
    bases = {name: base for name in apps if (base := source.base(name)) is not None}
    after = starts_after(source, apps)
    header = {
        "rankd_export": FORMAT,
        "app": app or "",
        "after": after,
        "apps": apps,
        "checkpoints": {name: source.checkpoints(name) for name in apps},
    }
    _write(out, header)
    for name, base in bases.items():
        _write(out, {"checkpoint": name, "version": base.version, "sealed": _base64(seal(base))})
    artefacts: set[str] = set()
    for base in bases.values():
        if base.HasField("pinned"):
            _write_artefact(source, out, base.pinned.state_sha256, artefacts)
    count = 0
    for record in source.records(after):
        if app is not None and record.app not in ("", app):
            continue
        payload = payload_of(record)
        if isinstance(payload, (pb.Epoch, pb.Promotion)):
            _write_artefact(source, out, payload.state_sha256, artefacts)
        try:
            _write(out, line_of(record, payload))
        except ValueError as error:
            raise LogError(f"record {record.sequence}: no JSON can say it: {error}") from error
        count += 1
    _write(out, {"rankd_export_end": count})
    return count


def starts_after(source: LogSource, apps: Iterable[str]) -> int:
    """The sequence before the first record that the fold of these apps needs: 0, but in a trimmed log."""
    bases = [base for app in apps if (base := source.base(app)) is not None]
    return min((base.oldest_needed for base in bases), default=1) - 1


def _write_artefact(source: LogSource, out: BinaryIO, sha256: str, written: set[str]) -> None:
    """Each once. One that is lost is left out: a fold that does not need it goes on without, here as at home."""
    if sha256 in written:
        return
    written.add(sha256)
    try:
        state = source.artefact(sha256)
    except LogError:
        return
    _write(out, {"artefact": sha256, "state": _base64(state)})


def _write(out: BinaryIO, line: dict[str, Any]) -> None:
    out.write(_encode(line).encode("ascii") + b"\n")


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _unbase64(line: dict[str, Any], name: str) -> bytes:
    """Raises ValueError where there is no such text."""
    text = line.get(name)
    if not isinstance(text, str):
        raise ValueError(f"{name!r} is missing")
    return b64decode(text, validate=True)


class ExportSource:
    """An export as a log that can be read again and again. Keeps places in memory, 16 bytes a record, and no record.

    A last line that was cut short is passed over, and `complete` then is False: what is there can still be checked.

    Raises (all methods):
        LogError: a line is malformed (the message has its number), a record is missing, or a model is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            first = file.readline()
        try:
            self._header = json.loads(first)
            found = self._header["rankd_export"]
            if found != FORMAT:
                raise LogError(f"{path}: export format {found}; this rankd reads format {FORMAT}")
            self._after = int(self._header["after"])
            self.filtered = bool(self._header["app"])
            self._apps = [str(name) for name in self._header["apps"]]
        except (ValueError, KeyError, TypeError) as error:
            raise LogError(
                f"{path}: its first line is not that of an export; give a data folder of rankd, a topic, or a file of "
                "`rankd log export` (jsonl)"
            ) from error
        self._begin = len(first)
        self._sequences, self._offsets = array("Q"), array("Q")  # of the records met so far
        self._models: dict[
            str, int
        ] = {}  # "artefact:sha256" or "checkpoint:app" -> offset, of those met
        self._seen_all = False
        self.complete = False
        """Whether the end of the export has been met. Only tells something once all records have been read."""

    def apps(self) -> list[str]:
        return self._apps

    def base(self, app: str) -> internal_pb2.Checkpoint | None:
        if not self._after:
            return None
        line = self._model(f"checkpoint:{app}")
        if line is None:
            raise LogError(
                f"{self._path}: the log was trimmed, and no checkpoint of app {app!r} is here"
            )
        try:
            return unseal(internal_pb2.Checkpoint, _unbase64(line, "sealed"))
        except (EnvelopeError, ValueError) as error:
            raise LogError(f"{self._path}: the checkpoint of app {app!r}: {error}") from error

    def artefact(self, sha256: str) -> bytes:
        line = self._model(f"artefact:{sha256}")
        if line is None:
            raise LogError(f"{self._path}: artefact {sha256[:12]} is missing")
        try:
            state = _unbase64(line, "state")
        except ValueError as error:
            raise LogError(f"{self._path}: artefact {sha256[:12]}: {error}") from error
        if state_sha256(state) != sha256:
            raise LogError(f"{self._path}: artefact {sha256[:12]} holds another model")
        return state

    def checkpoints(self, app: str) -> dict[int, str]:
        return {int(version): sha for version, sha in self._header["checkpoints"][app].items()}

    def records(self, after: int) -> Iterator[LogRecord]:
        if after < self._after:
            raise LogError(
                f"{self._path}: the log begins at record {self._after + 1}, but {after + 1} is needed"
            )
        offset, last = self._begin, self._after
        known = bisect_right(self._sequences, after)
        if known:  # from the last record that is known and not asked for
            offset, last = self._offsets[known - 1], self._sequences[known - 1] - 1
        for at, line in self._lines(offset):
            if "sequence" not in line:
                self._note(at, line)
                if line.get("rankd_export_end", len(self._sequences)) != len(self._sequences):
                    raise LogError(
                        f"{self._where(at)}: {len(self._sequences)} records come before this line, which says "
                        f"{line['rankd_export_end']}; some were removed or added"
                    )
                continue
            try:
                record = record_of(line)
            except ValueError as error:
                raise LogError(f"{self._where(at)}: not a record: {error}") from error
            if record.sequence <= last or not (self.filtered or record.sequence == last + 1):
                raise LogError(
                    f"{self._where(at)}: record {record.sequence} follows record {last}"
                    + ("" if record.sequence <= last else "; those between are missing")
                )
            last = record.sequence
            if not self._sequences or last > self._sequences[-1]:
                self._sequences.append(last)
                self._offsets.append(at)
            if last > after:
                yield record
        self._seen_all = True

    def read(self, sequence: int) -> LogRecord:
        i = bisect_left(self._sequences, sequence)
        if i == len(self._sequences) and not self._seen_all:
            for _ in self.records(self._sequences[-1] if self._sequences else self._after):
                pass
            i = bisect_left(self._sequences, sequence)
        if i == len(self._sequences) or self._sequences[i] != sequence:
            raise LogError(f"{self._path}: record {sequence} is not in it")
        return record_of(self._line(self._offsets[i]))

    def _model(self, name: str) -> dict[str, Any] | None:
        """The line of an artefact or checkpoint, or None where the export has none of that name."""
        if name not in self._models and not self._seen_all:
            for at, line in self._lines(self._begin):
                self._note(at, line)
                if name in self._models:
                    break
        return self._line(self._models[name]) if name in self._models else None

    def _note(self, at: int, line: dict[str, Any]) -> None:
        """Takes note of a line that is no record."""
        for kind in ("artefact", "checkpoint"):
            if kind in line:
                self._models[f"{kind}:{line[kind]}"] = at
                return
        if "rankd_export_end" in line:
            self.complete = True
        elif "sequence" not in line:
            raise LogError(f"{self._where(at)}: neither a record nor a model")

    def _lines(self, offset: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """(offset, object) of every line from there on; a last one that was cut short is left out."""
        with self._path.open("rb") as file:
            file.seek(offset)
            for data in file:
                try:
                    line = json.loads(data)
                except ValueError as error:
                    if not data.endswith(b"\n"):
                        return
                    raise LogError(f"{self._where(offset)}: not JSON: {error}") from error
                if not isinstance(line, dict):
                    raise LogError(f"{self._where(offset)}: not a JSON object")
                yield offset, line
                offset += len(data)

    def _line(self, offset: int) -> dict[str, Any]:
        with self._path.open("rb") as file:
            file.seek(offset)
            line: dict[str, Any] = json.loads(file.readline())
        return line

    def _where(self, offset: int) -> str:
        """The line's place for people; counts lines, as only a log that is refused pays for it."""
        with self._path.open("rb") as file:
            number = 1
            while offset > 0 and (data := file.read(min(offset, 1 << 20))):
                number += data.count(b"\n")
                offset -= len(data)
        return f"{self._path}, line {number}"
