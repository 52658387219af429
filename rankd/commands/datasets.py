"""`rankd datasets`: what there is to simulate on and to replay."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from rankd.commands import fail
from simulator.datasets import DATASETS, cache_folder, log_of
from simulator.environments import ENVIRONMENTS, EnvironmentSpecError, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.datasets import DataSet


def datasets(fetch: str | None, cache: Path | None, as_json: bool) -> int:
    """Lists data sets and environments; or, asked to fetch a log, downloads it and says where it is."""
    if fetch is not None:
        return _fetch(fetch, cache)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "datasets": [_plain(each) for each in DATASETS.values()],
                    "environments": _worlds(),
                }
            )
        )
        return 0
    console = Console(highlight=False)
    table = Table(title="Data sets", title_justify="left")
    for column in ("name", "rows", "features", "actions", "for", "source", "needs", "licence"):
        table.add_column(
            column,
            justify="right" if column in ("rows", "features", "actions") else "left",
            no_wrap=column in ("name", "rows", "for"),
        )
    for each in DATASETS.values():
        use = "simulate" if each.kind == "labelled" else "replay"
        counts = (f"{n:,}" for n in (each.rows, each.features, each.actions))
        table.add_row(each.name, *counts, use, each.source, each.needs, each.licence)
    console.print(table)
    worlds = Table(title="Environments of `rankd simulate`", title_justify="left")
    worlds.add_column("name")
    worlds.add_column("settings")
    for name, settings in _worlds().items():
        worlds.add_row(name, ",".join(f"{key}={value}" for key, value in settings.items()))
    worlds.add_row("csv", "path=FILE,label=label")
    console.print(worlds)
    return 0


def _fetch(name: str, cache: Path | None) -> int:
    try:
        typer.echo(log_of(name, cache or cache_folder()).name)
    except (EnvironmentSpecError, OSError) as error:
        fail(str(error))
    return 0


def _worlds() -> dict[str, dict[str, Any]]:
    return {name: settings_of(kind) for name, kind in ENVIRONMENTS.items()}


def _plain(data: DataSet) -> dict[str, Any]:
    return {field.name: getattr(data, field.name) for field in fields(data) if field.name != "load"}
