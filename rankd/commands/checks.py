"""`rankd validate`: PASS or FAIL for each check of a configuration or a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rankd.commands import fail
from rankd.commands.sources import TOPIC
from server.exports.jsonl import MARK
from server.files import DataFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rankd.commands.check import Check


def validate(path: str, app: str | None) -> int:
    """Prints every check; returns the exit code: 1 where one failed."""
    failed = 0
    for check in _checks(path, app):
        typer.echo(f"{'PASS' if check.passed else 'FAIL'}  {check.name}: {check.found}")
        failed += not check.passed
    if failed:
        typer.echo(f"{failed} failed", err=True)
    return 1 if failed else 0


def _checks(path: str, app: str | None) -> Iterator[Check]:
    here = Path(path)
    if path.startswith(TOPIC) or here.is_dir() or _is_export(here):
        if here.is_dir() and not DataFolder(here).journal.exists():
            fail(f"{path}: neither a data folder of rankd (no journal in it) nor a file", 2)
        from rankd.commands.check_log import check_log

        return check_log(path, app)
    from rankd.commands.check_config import check_config

    return check_config(here)


def _is_export(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MARK)) == MARK
    except OSError:
        return False  # check_config tells why
