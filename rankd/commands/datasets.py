"""`rankd datasets`: what there is to simulate on and to replay."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from rankd.commands import fail
from simulator.datasets import DATASETS, cache_folder, log_of
from simulator.environments import ENVIRONMENTS, EnvironmentSpecError, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    for column in ("name", "rows", "features", "actions", "for"):
        justify: Literal["left", "right"] = "left" if column in ("name", "for") else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for each in DATASETS.values():
        use = "simulate" if each.kind == "labelled" else "replay"
        table.add_row(each.name, *(f"{n:,}" for n in (each.rows, each.features, each.actions)), use)
    console.print(table)
    for text in _sources():
        console.print(text)
    console.print()
    worlds = Table(title="Environments of `rankd simulate`", title_justify="left")
    worlds.add_column("name", no_wrap=True)
    worlds.add_column("settings")
    for name, settings in _worlds().items():
        worlds.add_row(name, ", ".join(f"{key}={value}" for key, value in settings.items()))
    worlds.add_row("csv", "path=FILE, label=label")
    console.print(worlds)
    return 0


def _sources() -> Iterator[str]:
    """Where data sets are from, what they need and their licence: said once of those that have it in common, since it is long."""
    names = defaultdict(list)
    for each in DATASETS.values():
        names[each.source, each.needs, each.licence].append(each.name)
    for (source, needs, licence), found in names.items():
        wanted = f", needs {needs}" if needs else ""
        yield f"{', '.join(found)}: {source}{wanted}. Licence: {licence}."


def _fetch(name: str, cache: Path | None) -> int:
    try:
        typer.echo(log_of(name, cache or cache_folder()).name)
        if cache is None:
            typer.echo(
                f"note: replay it by its name: rankd replay {name} --policy uniform", err=True
            )
    except (EnvironmentSpecError, OSError) as error:
        fail(str(error))
    return 0


def _worlds() -> dict[str, dict[str, Any]]:
    return {name: settings_of(kind) for name, kind in ENVIRONMENTS.items()}


def _plain(data: DataSet) -> dict[str, Any]:
    return {field.name: getattr(data, field.name) for field in fields(data) if field.name != "load"}
