"""`rankd log`: a look at the log, and its exports."""

from __future__ import annotations

import sys
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from rankd.commands import fail, plain
from rankd.commands.sources import TOPIC, UNREADABLE, note_if_cut, open_log
from rankd.v1 import log_pb2 as pb
from server.exports.dsjson import write_dsjson
from server.exports.jsonl import write_jsonl
from server.exports.lines import payload_of
from server.exports.parquet import ParquetMissingError, write_parquet
from server.files import DataFolder
from server.fold.records import LogError, LogRecord
from server.journal.store import JournalReader
from server.learning.source import FolderSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from server.fold.verify import LogSource

WRITERS: dict[str, Callable[[LogSource, BinaryIO, str | None], int]] = {
    "jsonl": write_jsonl,
    "dsjson": write_dsjson,
    "parquet": write_parquet,
}
# How often `--follow` looks for new records, in seconds: what a person takes for at once.
_POLL = 0.2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def export(path: str, form: str, output: str, app: str | None) -> int:
    """Writes the log at `path` to a file, or to standard output."""
    with open_log(path, app) as source:
        try:
            if output == "-":
                if form == "parquet" and sys.stdout.isatty():
                    fail("Parquet is not for a terminal: give --output FILE, or pipe it", 2)
                count = WRITERS[form](source, sys.stdout.buffer, app)
                sys.stdout.buffer.flush()
            else:
                count = _to_file(WRITERS[form], source, output, app)
        except ParquetMissingError as error:
            fail(str(error))
        note_if_cut(source)
    what = "records" if form == "jsonl" else "interactions"
    typer.echo(f"{count} {what}", err=True)
    return 0


def _to_file(
    write: Callable[[LogSource, BinaryIO, str | None], int],
    source: LogSource,
    output: str,
    app: str | None,
) -> int:
    """All of it, or no file: a half-written export would look like a small log."""
    target = Path(output)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with partial.open("wb") as file:
            count = write(source, file, app)
        partial.replace(target)
    except OSError as error:
        fail(f"{output}: {error.strerror or error}")
    finally:
        partial.unlink(missing_ok=True)
    return count


def tail(path: str, count: int, follow: bool, ticks: bool, app: str | None) -> int:
    """Shows the last records, and with `follow` those that come, until Ctrl-C."""
    with _reader(path, app, follow) as (reader, error):
        try:
            last = _show_last(reader, count, ticks)
            while follow:
                if reader.changed():
                    for record in reader.records(last):
                        _show(record, ticks)
                        last = record.sequence
                if error():
                    fail(error(), UNREADABLE)
                time.sleep(_POLL)
        except LogError as cause:
            fail(str(cause), UNREADABLE)
        except KeyboardInterrupt:
            pass
    return 0


@contextmanager
def _reader(
    path: str, app: str | None, follow: bool
) -> Iterator[tuple[JournalReader, Callable[[], str]]]:
    """What grows at that path, and what tells why it does not any more."""
    folder = DataFolder(Path(path))
    if path.startswith(TOPIC) or any(folder.root.glob("apps/*/merged.sqlite")):
        from server.kafka.source import TopicSource

        with open_log(path, app) as source:
            assert isinstance(source, (FolderSource, TopicSource))
            if follow and isinstance(source, TopicSource):
                source.follow()
            yield source.reader, lambda: getattr(source, "error", "")
        return
    try:
        reader = JournalReader(folder.journal)  # also of a server whose log goes on in Kafka
    except FileNotFoundError as error:
        fail(f"{error}; give a data folder of rankd, or {TOPIC}HOST:PORT/TOPIC", UNREADABLE)
    with closing(reader):
        yield reader, str


def _show_last(reader: JournalReader, count: int, ticks: bool) -> int:
    """Shows the last `count` records; returns the sequence of the last one."""
    first, last = reader.bounds()
    window = max(count, 1)
    while True:  # a quiet log is mostly Ticks: look further back until there are enough others
        after = max(first - 1, last - window)
        found = [r for r in reader.records(after, last) if ticks or r.kind != pb.KIND_TICK]
        if len(found) >= count or after == first - 1:
            break
        window *= 4
    for record in found[len(found) - count :] if count < len(found) else found:
        _show(record, ticks)
    return last


def _show(record: LogRecord, ticks: bool) -> None:
    if ticks or record.kind != pb.KIND_TICK:
        typer.echo(describe(record))


def describe(record: LogRecord) -> str:
    """One record on one line: time, sequence, kind, app, event, and what it says."""
    when = (_EPOCH + timedelta(microseconds=record.log_time_us)).isoformat(" ", "milliseconds")
    kind = pb.Kind.Name(record.kind).removeprefix("KIND_").lower()
    what = _summary(payload_of(record)) if not record.key_id else "encrypted"
    words = [
        when[:-6],
        f"{record.sequence:>9}",
        f"{kind:<10}",
        record.app,
        plain(record.event_id),
        what,
    ]
    return "  ".join(word for word in words if word)


def _summary(payload: Message | None) -> str:
    match payload:
        case pb.Decision():
            return _decision(payload)
        case pb.Reward():
            slot = f" for slot {plain(payload.slot_id)}" if payload.slot_id else ""
            return f"{payload.value:g}{slot}"
        case pb.Activation():
            return pb.Activation.Cause.Name(payload.cause).removeprefix("CAUSE_").lower()
        case pb.Config():
            return payload.sha256[:12]
        case pb.Epoch():
            start = pb.Epoch.Start.Name(payload.start).removeprefix("START_").lower()
            number = f"epoch {payload.number}" if payload.number else "next epoch"
            return f"{number}, {start}, from state {payload.state_sha256[:12]}"
        case pb.Promotion():
            action = pb.Promotion.Action.Name(payload.action).removeprefix("ACTION_").lower()
            return f"{action} to {payload.epoch}.{payload.model_version}"
        case pb.Fence():
            return f"folder {plain(payload.folder)}"
        case pb.Lease():
            what = "released by" if payload.released else "of"
            return f"{payload.number} {what} folder {plain(payload.owner)}"
        case pb.Artefact():
            return f"{payload.state_sha256[:12]}, piece {payload.piece + 1} of {payload.pieces}"
    return ""


def _decision(decision: pb.Decision) -> str:
    shown = []
    for slot, probability in enumerate(decision.slot_probabilities):
        action = plain(decision.action_ids[decision.ranking[slot]])
        name = f"{plain(decision.slot_ids[slot])}: " if decision.slot_ids else ""
        shown.append(f"{name}{action} (p {probability:.4g})")
    deferred = ", deferred" if decision.defer_activation else ""
    count = len(set(decision.action_ids) - set(decision.excluded_ids))
    return f"{', '.join(shown)} of {count} by {decision.epoch}.{decision.model_version}{deferred}"
