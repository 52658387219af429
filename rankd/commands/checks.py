"""`rankd validate`: PASS or FAIL for each check of a configuration or a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rankd.commands import fail
from rankd.commands.check import Check
from rankd.commands.sources import NO_APPS, TOPIC, columns_of, has_apps
from server.exports.jsonl import MARK
from server.files import DataFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

# How the names of configurations end; whatever has another name is a log.
_CONFIGURATIONS = {".yaml", ".yml"}


def validate(path: str, app: str | None, columns: str | None = None) -> int:
    """Prints every check; returns the exit code: 1 where one failed."""
    failed = 0
    for check in _checks(path, app, columns):
        typer.echo(f"{'PASS' if check.passed else 'FAIL'}  {check.name}: {check.found}")
        failed += not check.passed
    if failed:
        typer.echo(f"{failed} failed", err=True)
    return 1 if failed else 0


def _checks(path: str, app: str | None, columns: str | None) -> Iterator[Check]:
    here = Path(path)
    if path.startswith(TOPIC) or here.is_dir() or _is_export(here):
        if here.is_dir() and not DataFolder(here).journal.exists():
            fail(f"{path}: neither a data folder of rankd (no journal in it) nor a file", 2)
        from rankd.commands.check_log import check_log

        return check_log(path, app)
    if here.suffix in _CONFIGURATIONS:
        from rankd.commands.check_config import check_config

        return check_config(here)
    return _feedback(path, app, columns)


def _feedback(path: str, app: str | None, columns: str | None) -> Iterator[Check]:
    """A file that others wrote, or a data set's name."""
    from rankd.commands.check_feedback import check_feedback
    from simulator.datasets import DATASETS, log_of
    from simulator.logs import LogFormatError, open_log

    named = None if columns is None else columns_of(columns)
    try:
        log = log_of(path) if path in DATASETS else open_log(path, app=app, columns=named)
    except LogFormatError as error:
        yield Check("readable", False, f"{error}\nA configuration's name ends in .yaml")
    except OSError as error:
        yield Check("readable", False, f"{path}: {error.strerror or error}")
    except ValueError as error:  # of a data set
        yield Check("readable", False, str(error))
    else:
        if app is not None and not has_apps(log):
            yield Check("readable", False, f"--app {app}: {NO_APPS.format(path)}")
            return
        yield from check_feedback(log)


def _is_export(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MARK)) == MARK
    except OSError:
        return False  # what opens it next tells why
