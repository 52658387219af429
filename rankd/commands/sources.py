"""A log as a command is given it: a data folder, or an export."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import typer

from rankd.commands import fail
from server.exports.jsonl import ExportSource
from server.files import DataFolder
from server.fold.records import LogError
from server.learning.source import FolderSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server.fold.verify import LogSource

# Exit code for a log that cannot be read or folded.
UNREADABLE = 2


@contextmanager
def open_log(path: Path, app: str | None = None) -> Iterator[LogSource]:
    """The log at that path; whatever is wrong with it ends the command, then or later, with a message.

    Args:
        app: must be in it, if given.
    """
    try:
        if path.is_dir():
            with closing(FolderSource(DataFolder(path))) as folder:
                _check_app(folder, app)
                yield folder
        else:
            export = ExportSource(path)
            _check_app(export, app)
            yield export
    except FileNotFoundError as error:
        fail(
            f"{path}: {error.strerror or error}; give a data folder of rankd, or a file of `rankd log export`",
            UNREADABLE,
        )
    except BrokenPipeError:
        raise  # whoever read our output has had enough
    except (LogError, sqlite3.DatabaseError, OSError) as error:
        fail(f"{path}: the log cannot be read: {error}", UNREADABLE)


def note_if_cut(source: LogSource) -> None:
    """Once everything has been read: says so if the export has no end."""
    if isinstance(source, ExportSource) and not source.complete:
        typer.echo("note: the export was cut short; this is about the part that is there", err=True)


def _check_app(source: LogSource, app: str | None) -> None:
    apps = source.apps()
    if app is not None and app not in apps:
        fail(f"no app {app!r} in this log; it has {', '.join(apps) or 'none'}", UNREADABLE)
