"""`rankd verify`: every decision of a log, made again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rankd.commands.sources import note_if_cut, open_log
from server.fold.verify import verify as verify_all
from server.fold.verify import verify_app

if TYPE_CHECKING:
    from pathlib import Path


def verify(path: Path, app: str | None) -> int:
    """Returns the exit code: 1 where something does not match."""
    with open_log(path, app) as source:
        result = verify_all(source) if app is None else verify_app(source, app)
        note_if_cut(source)
    typer.echo(
        f"verified {result.verified}, unverifiable {result.unverifiable}, mismatches {result.mismatches}"
    )
    for name, sha256 in sorted(result.states.items()):
        typer.echo(f"{name} {sha256}")
    if result.mismatches:
        typer.echo(f"the first mismatch: {result.first_mismatch}", err=True)
        return 1
    return 0
