"""What the command line does, one module for each command. Nothing here loads before its command is called."""

from __future__ import annotations

from typing import NoReturn

import typer


def fail(message: str, code: int = 1) -> NoReturn:
    """Says what is wrong on standard error and ends the command."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def check_alpha(alpha: float) -> None:
    """Refuses, before anything is read, a share of missed logs that is none."""
    if not 0 < alpha < 1:  # NaN compares false
        fail(f"--alpha {alpha:g}: must be in (0, 1), as .05 for intervals that hold in 95% of logs")


def plain(text: str) -> str:
    """Text from outside, safe to show: an id may hold newlines and a terminal's control sequences.

    >>> plain("caf\\u00e9"), plain("a\\x1b[2J\\n")
    ('café', 'a\\\\x1b[2J\\\\n')
    """
    return text if text.isprintable() else repr(text)[1:-1]
