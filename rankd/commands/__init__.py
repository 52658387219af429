"""What the command line does, one module for each command. Nothing here loads before its command is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def fail(message: str, code: int = 1) -> NoReturn:
    """Says what is wrong on standard error and ends the command."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def check_alpha(alpha: float) -> None:
    """Refuses, before anything is read, a share of missed logs that is none."""
    if not 0 < alpha < 1:  # NaN compares false
        fail(f"--alpha {alpha:g}: must be in (0, 1), as .05 for intervals that hold in 95% of logs")


def check_report(report: Path | None, endings: Sequence[str], option: str = "--report") -> None:
    """Refuses a file that cannot be written, or would be something else than its name says, before hours of work for it."""
    if report is None:
        return
    if report.suffix not in endings:
        fail(f"{option} {report}: its name must end in {' or '.join(endings)}")
    if not report.parent.is_dir():
        fail(f"{option} {report}: there is no folder {report.parent}")


def plain(text: str) -> str:
    """Text from outside, safe to show: an id may hold newlines and a terminal's control sequences.

    >>> plain("caf\\u00e9"), plain("a\\x1b[2J\\n")
    ('café', 'a\\\\x1b[2J\\\\n')
    """
    return text if text.isprintable() else repr(text)[1:-1]
