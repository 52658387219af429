"""`rankd verify`: every decision of a log, made again."""

from __future__ import annotations

import typer

from rankd.commands.sources import note_if_cut, open_logs
from server.fold.verify import Verification, verify_app
from server.fold.verify import verify as verify_all


def verify(path: str, app: str | None) -> int:
    """Returns the exit code: 1 where something does not match."""
    result = Verification()
    with open_logs(path, app) as logs:
        for log in logs:
            result += verify_all(log) if app is None else verify_app(log, app)
            note_if_cut(log)
    typer.echo(
        f"verified {result.verified}, unverifiable {result.unverifiable}, mismatches {result.mismatches}"
    )
    for name, sha256 in sorted(result.states.items()):
        typer.echo(f"{name} {sha256}")
    if result.mismatches:
        typer.echo(f"the first mismatch: {result.first_mismatch}", err=True)
        return 1
    return 0
