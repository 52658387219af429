"""The command that makes load.

Without `from __future__ import annotations`, because typer reads the annotations.
"""

from pathlib import Path
from typing import Annotated

import typer

from rankd.cli_options import JsonLine


def load(
    target: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The service.")
    ] = "localhost:50051",
    app_name: Annotated[
        str,
        typer.Option(
            "--app",
            help="The app: one for this alone, since it learns what is made up. May be left out where the service has only one.",
        ),
    ] = "",
    rate: Annotated[
        float,
        typer.Option(min=0.001, help="Calls of Rank a second, however long answers take."),
    ] = 100.0,
    closed: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="CONCURRENCY",
            help="Instead of a rate: so many calls in flight, each sent once the one before it is answered. For the most that a service "
            "can do; its latencies say little.",
        ),
    ] = 0,
    duration: Annotated[str, typer.Option(help="How long: 30s, 10m.")] = "30s",
    actions: Annotated[int, typer.Option(min=1, help="Actions of each call.")] = 10,
    features: Annotated[
        int, typer.Option(min=0, help="Numbers in each action's vector; 0: no vectors.")
    ] = 32,
    rewards: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, metavar="SHARE", help="Share of decisions to reward."),
    ] = 0.0,
    connections: Annotated[
        int, typer.Option(min=1, help="Connections, of all processes together.")
    ] = 8,
    processes: Annotated[
        int,
        typer.Option(min=1, max=64, help="That make load; one manages some 2,000 calls a second."),
    ] = 1,
    timeout: Annotated[str, typer.Option(help="Longest wait for an answer.")] = "5s",
    histogram: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw latencies into this file.")
    ] = None,
    as_json: JsonLine = False,
) -> None:
    """Call a running service at a fixed rate, and show how long answers take. Latencies count from when a call was due."""
    from rankd.commands.load import load

    code = load(
        target,
        app_name,
        rate=rate,
        duration=duration,
        closed=closed,
        actions=actions,
        features=features,
        rewards=rewards,
        connections=connections,
        processes=processes,
        timeout=timeout,
        histogram=histogram,
        json_line=as_json,
    )
    raise typer.Exit(code)
