"""Commands that run many trials: on worlds, and on a log.

Without `from __future__ import annotations`, because typer reads the annotations.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rankd.cli_options import (
    Alpha,
    Cache,
    ColumnNames,
    Jobs,
    JsonLine,
    MinExploration,
    OneApp,
    Resume,
    RewardRange,
    Standardise,
)


class Tuned(StrEnum):
    """What `rankd tune` estimates."""

    TRAINED_ON_LOG = "trained_on_log"
    FROZEN = "frozen"


def add_experiments(app: typer.Typer) -> None:
    """The commands of this file."""
    for command in (tune, simulate, datasets):
        app.command()(command)


def tune(
    log: Annotated[str, typer.Argument(metavar="LOG", help="As for `rankd replay`.")],
    policy: Annotated[
        list[str],
        typer.Option(
            "--policy",
            help="With a list for each setting that varies: linucb:alpha=[0.1,0.3,1], 'vw:--cb_explore_adf --epsilon [0.05,0.2]', or a YAML file.",
        ),
    ],
    estimator: Annotated[
        str, typer.Option(help="That candidates are compared by: ips, snips, dr or sndr.")
    ] = "dr",
    estimand: Annotated[
        Tuned,
        typer.Option(
            help="trained_on_log: candidates learn all the while, only the rows of one part count. frozen: they learn what is before the part, and stay as they are."
        ),
    ] = Tuned.TRAINED_ON_LOG,
    choose_on: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Of the decisions, the first, to choose on; the best is valued on the others. Default: 0.6.",
        ),
    ] = None,
    score_on_chosen: Annotated[
        bool,
        typer.Option(
            "--score-on-chosen", help="Choose and value on the same rows: the value is too high."
        ),
    ] = False,
    app_name: OneApp = None,
    columns: ColumnNames = None,
    reward_range: RewardRange = None,
    min_exploration: MinExploration = 0.05,
    standardise: Standardise = True,
    reward_model: Annotated[
        str, typer.Option(help="The policy whose expectations dr and sndr use.")
    ] = "linucb",
    alpha: Alpha = 0.05,
    force: Annotated[
        bool, typer.Option("--force", help="Choose by numbers that should not be believed, too.")
    ] = False,
    jobs: Jobs = 1,
    resume: Resume = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a table for a pull request (Markdown).")
    ] = None,
    as_json: JsonLine = False,
) -> None:
    """Choose settings on the earlier part of a log, and value the best on the later part."""
    from rankd.commands.tune import tune

    code = tune(
        log,
        policy,
        app=app_name,
        columns=columns,
        estimator=estimator,
        estimand=estimand.value,
        choose_on=choose_on,
        score_on_chosen=score_on_chosen,
        reward_range=reward_range,
        min_exploration=min_exploration,
        standardise=standardise,
        reward_model=reward_model,
        alpha=alpha,
        force=force,
        jobs=jobs,
        resume=resume,
        report=report,
        as_json=as_json,
    )
    raise typer.Exit(code)


def simulate(
    environment: Annotated[
        str,
        typer.Argument(
            metavar="ENV",
            help="A world (linear:actions=10,noise=0.5), a data set (image-segments), or csv:path=FILE,label=COLUMN. See `rankd datasets`.",
        ),
    ],
    policy: Annotated[
        list[str],
        typer.Option("--policy", help="As for `rankd replay`. Give several to compare them."),
    ],
    rounds: Annotated[int, typer.Option(min=1, help="Decisions of each run.")] = 2_000,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each policy, paired.")] = 5,
    min_exploration: MinExploration = 0.05,
    standardise: Standardise = True,
    jobs: Jobs = 1,
    resume: Resume = None,
    cache: Cache = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write a page with learning curves and regret (.html) or a table for a pull request (.md)."
        ),
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Write plots as PNG into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Let policies learn live in a world whose truth is known."""
    from rankd.commands.simulate import simulate

    code = simulate(
        environment,
        policy,
        rounds=rounds,
        seeds=seeds,
        min_exploration=min_exploration,
        standardise=standardise,
        jobs=jobs,
        resume=resume,
        cache=cache,
        report=report,
        plots=plots,
        as_json=as_json,
    )
    raise typer.Exit(code)


def datasets(
    fetch: Annotated[
        str | None, typer.Option(help="Download this log, and say where it is.")
    ] = None,
    cache: Cache = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """List what there is to simulate on and to replay."""
    from rankd.commands.datasets import datasets

    raise typer.Exit(datasets(fetch, cache, as_json))
