"""The `rankd` command. Only what it needs to print help is loaded here; each command loads its own."""

# No `from __future__ import annotations`: typer reads the annotations.

import sys
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from rankd.commands.connect import Service

app = typer.Typer(
    name="rankd",
    help="An online-learning decision service: contextual bandits, with a log that proves what was decided.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
log_app = typer.Typer(help="The log: a look at it, and exports.", no_args_is_help=True)
models_app = typer.Typer(
    help="The models of a running service, and which one is served.", no_args_is_help=True
)
app.add_typer(log_app, name="log")
app.add_typer(models_app, name="models")
