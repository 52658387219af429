"""Options that several commands share.

Without `from __future__ import annotations`, because typer reads the annotations.
"""

from pathlib import Path
from typing import Annotated

import typer

OneApp = Annotated[
    str | None, typer.Option("--app", help="Only this app. Default: every app of the log.")
]
ColumnNames = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="WHAT=NAME,...",
        help="Columns of a table: action, reward, propensity, key, time, and categorical for a feature whose numbers are names. A column pmf:ID has the probability of action ID.",
    ),
]
RewardRange = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LOW HIGH", help="Rewards that can be. Default: as the log says."),
]
Alpha = Annotated[float, typer.Option(help="Share of logs whose interval may miss the value.")]
JsonLine = Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")]
MinExploration = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Share of decisions spread over all actions.")
]
Standardise = Annotated[
    bool, typer.Option(help="Whether numbers are standardised on the way, as in the service.")
]
Cache = Annotated[
    Path | None, typer.Option(help="Where downloads are kept. Default: the user's cache.")
]


def _jobs(value: int) -> int:
    if not value:
        raise typer.BadParameter("0 processes do nothing; give 1 or more, or -1 for every core")
    return value


Jobs = Annotated[
    int,
    typer.Option(min=-1, callback=_jobs, help="Processes at work; -1: as many as there are cores."),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Keep results here. After an interruption the same command does only what is missing.",
    ),
]
