"""The log that `rankd replay` is given: a data set's name, a data folder, a topic or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rankd.commands import fail
from rankd.commands.sources import NO_APPS, TOPIC, UNREADABLE, columns_of, has_apps
from rankd.commands.sources import open_log as open_source
from simulator.datasets import DATASETS, log_of
from simulator.logs import LogFormatError, open_log
from simulator.logs.lines import FileLog
from simulator.logs.served import ServedLog
from simulator.met import rewards_met

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from server.fold.verify import LogSource
    from simulator.logs import Log


def open_any(
    path: str, app: str | None, columns: str | None, stack: ExitStack, *, of_model: bool = False
) -> Log:
    """What `path` names; whatever is wrong with it ends the command.

    Args:
        of_model: whether `app` may be that of a saved model, and nothing to the log.
    """
    log = _open(path, app, columns, stack)
    if app is not None and not of_model and not has_apps(log):
        fail(f"--app {app}: {NO_APPS.format(path)}")
    return log


def _open(path: str, app: str | None, columns: str | None, stack: ExitStack) -> Log:
    if path in DATASETS:
        try:
            return log_of(path)
        except (ValueError, OSError) as error:
            fail(str(error), UNREADABLE)
    if path.startswith(TOPIC) or Path(path).is_dir():
        source = stack.enter_context(open_source(path, app))
        apps = source.apps()
        if app is None and len(apps) > 1:
            fail(f"{path}: has several apps; pick one with --app: {', '.join(apps)}", UNREADABLE)
        return open_log(source, app=app)
    try:
        return open_log(path, app=app, columns=None if columns is None else columns_of(columns))
    except (LogFormatError, OSError) as error:
        fail(f"{path}: {error}" if isinstance(error, OSError) else str(error), UNREADABLE)


def open_served(path: str, app: str | None, stack: ExitStack) -> tuple[LogSource, ServedLog]:
    """A server's log, and one app of it in the order in which its models were used."""
    if path in DATASETS:
        fail(f"--as-served {path}: is no server's log", UNREADABLE)
    source = stack.enter_context(open_source(path, app))
    try:
        return source, ServedLog(source, app, path)
    except LogFormatError as error:
        fail(str(error), UNREADABLE)


def read_of(log: Log) -> Callable[[], float | None]:
    """What tells how much of the log has been read, in [0, 1], or None where that is not known."""
    return lambda: log.share if isinstance(log, FileLog) else None


def range_met(log: Log) -> tuple[float, float]:
    """The range of the rewards in the log, where nothing says what could have been."""
    low, high = rewards_met(log)
    typer.echo(
        f"rewards taken to lie between {low:g} and {high:g}, as those in the log do; say otherwise with --reward-range",
        err=True,
    )
    return low, high
