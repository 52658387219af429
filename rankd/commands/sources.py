"""A log as a command is given it: a data folder, an export, or a topic."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rankd.commands import fail
from server.exports.jsonl import ExportSource
from server.files import DataFolder
from server.fold.records import LogError
from server.learning.source import FolderSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from server.fold.verify import LogSource
    from simulator.logs import Columns, Log

# Exit code for a log that cannot be read or folded.
UNREADABLE = 2
TOPIC = "kafka://"
NO_APPS = "{} has no apps, only a log of rankd's own has; leave --app out"
"""Of --app on a log where it says nothing."""


@contextmanager
def open_log(path: str, app: str | None = None) -> Iterator[LogSource]:
    """The one log at that path, as `open_logs` does; where each app has its own, `app` says which."""
    with open_logs(path, app) as logs:
        if len(logs) > 1:
            names = ", ".join(name for log in logs for name in log.apps())
            fail(
                f"{path}: each app has a log of its own here; pick one with --app: {names}",
                UNREADABLE,
            )
        yield logs[0]


@contextmanager
def open_logs(path: str, app: str | None = None) -> Iterator[Sequence[LogSource]]:
    """The logs at that path; whatever is wrong with them ends the command, then or later, with a message.

    There is one, but in the data folder of a learner that merges topics, where each app has its own.

    Args:
        app: only this one, which must be there.
    """
    with ExitStack() as stack:
        try:
            logs = _open(path, app, stack)
            apps = [name for log in logs for name in log.apps()]
            if app is not None and app not in apps:
                fail(f"no app {app!r} in this log; it has {', '.join(apps) or 'none'}", UNREADABLE)
            yield logs if app is None else [log for log in logs if app in log.apps()]
        except FileNotFoundError as error:
            fail(
                f"{path}: {error.strerror or error}; give a data folder of rankd, a file of `rankd log export`, or "
                f"{TOPIC}HOST:PORT/TOPIC",
                UNREADABLE,
            )
        except BrokenPipeError:
            raise  # whoever read our output has had enough
        except (LogError, sqlite3.DatabaseError, OSError) as error:
            fail(f"{path}: the log cannot be read: {error}", UNREADABLE)


def _open(path: str, app: str | None, stack: ExitStack) -> list[LogSource]:
    if path.startswith(TOPIC):
        from server.kafka.source import TopicSource

        try:
            topic = TopicSource(path, app)
        except ValueError as error:
            fail(str(error), UNREADABLE)
        stack.callback(topic.close)
        return [topic]
    if not Path(path).is_dir():
        return [ExportSource(Path(path))]
    folder = DataFolder(Path(path))
    logs: list[LogSource] = []
    if any(folder.root.glob("apps/*/merged.sqlite")):
        from server.kafka.source import merged_apps, merged_source

        for name in merged_apps(folder):
            merged = merged_source(folder, name)
            stack.callback(merged.close)
            logs.append(merged)
        return logs
    own = FolderSource(folder)
    stack.callback(own.close)
    if folder.shipped.exists() and not own.reader.apps():
        raise LogError(
            f"this is what one of several servers wrote; the log is in Kafka. Give {TOPIC}HOST:PORT/TOPIC, or the data "
            "folder of a learner"
        )
    return [own]


def columns_of(text: str) -> Columns:
    """Which column of a table is what, from action=NAME,reward=NAME,propensity=NAME,key=NAME,time=NAME, and categorical=NAME for each
    feature whose numbers are names."""
    from simulator.logs import Columns  # of which other commands have no need

    known = ("action", "reward", "propensity", "key", "time", "categorical")
    given = [part.partition("=")[::2] for part in text.split(",")]
    if not ({what for what, _ in given} <= set(known) and all(name for _, name in given)):
        fail(f"--columns {text}: write what=column with commas between; what is {', '.join(known)}")
    names = [name for what, name in given if what == "categorical"]
    roles = {what: name for what, name in given if what != "categorical"}
    return Columns(**roles, categorical=names)  # type: ignore[arg-type]  # names, all of them


def has_apps(log: Log) -> bool:
    """Whether it is of several apps, one of which is read."""
    from simulator.logs.rankd_log import RankdLog
    from simulator.logs.rankd_table import RankdTableLog

    return isinstance(log, (RankdLog, RankdTableLog))


def note_if_cut(source: LogSource) -> None:
    """Once everything has been read: says so if that was not all of the log."""
    if isinstance(source, ExportSource) and not source.complete:
        typer.echo("note: the export was cut short; this is about the part that is there", err=True)
    left_out = getattr(source, "left_out", 0)  # of a TopicSource, whose module not everybody loads
    if left_out:
        typer.echo(
            f"note: the last {left_out} records of the topic have no certain place yet: other partitions may still get "
            "earlier ones. They are left out",
            err=True,
        )


def note_what_lacks(log: Log) -> None:
    """Once everything has been read: says what was not all there, and what this kind of log does not tell."""
    from simulator.logs import Skipped
    from simulator.logs.rankd_table import RankdTableLog

    if isinstance(log, RankdTableLog):
        typer.echo(
            f"note: {log.name} does not tell when rewards became final, nor which decisions have none: each is learned at once, sooner "
            "than it was. The data folder, the topic and a JSONL export tell",
            err=True,
        )

    if log.counters[Skipped.NOT_AN_OBJECT]:
        typer.echo(
            f"note: {log.counters[Skipped.NOT_AN_OBJECT]:,} lines of {log.name} are about no decision, and were passed over",
            err=True,
        )
    if log.counters[Skipped.SKIP_LEARN]:
        typer.echo(
            f"note: {log.counters[Skipped.SKIP_LEARN]:,} decisions of {log.name} say _skipLearn, and were passed over",
            err=True,
        )
    if log.counters[Skipped.CUT_SHORT]:
        typer.echo(
            f"note: the last line of {log.name} was cut short; this is about the part that is there",
            err=True,
        )
