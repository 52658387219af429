"""`rankd replay`: what other policies would have earned, from a log."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from policies import ModelSpec, PolicyError
from rankd.commands import fail
from rankd.commands.replay_log import open_any, range_met
from rankd.commands.replay_report import write
from rankd.commands.replay_show import show
from rankd.commands.replay_slates import (
    as_pass,
    conclude_slates,
    range_of_slates,
    replayed_slates,
    wanted,
)
from rankd.commands.replay_summary import conclude, summary
from rankd.commands.reward_models import Fitting
from rankd.commands.reward_models import check as check_model
from rankd.commands.sources import UNREADABLE
from simulator.estimators import ESTIMATORS, MRDR
from simulator.estimators.slates import SLATE_ESTIMATORS
from simulator.intervals import INTERVALS
from simulator.logs import DsjsonLog, LogFormatError
from simulator.replay import replay as replay_log
from simulator.specs import policy_of
from simulator.targets import FROZEN, Frozen, Trained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from simulator.targets import Target


def replay(
    path: str,
    specs: Sequence[str],
    *,
    app: str | None,
    columns: str | None,
    estimators: Sequence[str],
    estimand: str,
    reward_range: tuple[float, float] | None,
    min_exploration: float,
    standardise: bool,
    reward_model: str,
    cross_fit: int | None,
    interval: str | None,
    alpha: float,
    force: bool,
    report: Path | None,
    plots: Path | None,
    as_json: bool,
) -> int:
    known = [*ESTIMATORS, *SLATE_ESTIMATORS]
    unknown = [name for name in estimators if name not in known]
    if unknown:
        fail(f"--estimator {unknown[0]}: there is none; known are {', '.join(known)}")
    if interval is not None and interval not in INTERVALS:
        fail(f"--interval {interval}: there is none; known are {', '.join(INTERVALS)}")
    check_model(cross_fit, estimators, estimand, interval)
    of_slates = wanted(estimators, cross_fit, interval)
    with ExitStack() as stack:
        log = open_any(path, app, columns, stack)
        try:
            limits = reward_range or log.reward_range or range_met(log)
            settings: dict[str, Any] = {
                "standardise": standardise,
                "min_exploration": min_exploration,
                "reward_range": limits,
            }
            parsed = isinstance(log, DsjsonLog) and estimand != FROZEN and not of_slates
            targets = [_target(spec, estimand, settings, vw_parses=parsed) for spec in specs]
            fitting = Fitting(policy_of(reward_model), settings, cross_fit)
            started = time.perf_counter()
            with _progress(hidden=as_json) as progress:
                task = progress.add_task("rows", total=None)

                def tick(n: int) -> None:
                    progress.update(task, completed=n)

                if of_slates:
                    slates = replayed_slates(log, targets, estimators, fitting, tick)
                    found = as_pass(slates)
                else:
                    found = replay_log(log, targets, fitting.of(log, estimators), tick)
                    mrdr = fitting.of_mrdr(log, targets) if MRDR.name in estimators else []
            seconds = time.perf_counter() - started
        except PolicyError as error:
            fail(str(error))
        except LogFormatError as error:
            fail(str(error), UNREADABLE)
        except ValueError as error:
            fail(f"{path}: {error}", UNREADABLE)
    if not found.matured:
        fail(f"{path}: there is no decision with a final reward in this log", UNREADABLE)
    try:
        if of_slates:
            results = conclude_slates(
                slates, estimators, alpha=alpha, force=force, interval=interval
            )
            limits = range_of_slates(limits, slates)
        else:
            results = conclude(
                found, mrdr, estimators, limits, alpha=alpha, force=force, interval=interval
            )
    except ValueError as error:
        fail(f"{path}: {error}", UNREADABLE)
    if report is not None or plots is not None:
        write(path, found, results, limits, alpha, report, plots)
    told = summary(found, results, seconds, alpha)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        show(told, found, alpha)
    return 0


def _target(spec: str, estimand: str, settings: dict[str, Any], *, vw_parses: bool) -> Target:
    name, _, args = spec.partition(":")
    if name == "vw" and args and vw_parses:
        from simulator.vw_dsjson import VwDsjson

        return VwDsjson(spec, args)
    model = ModelSpec(policy_of(spec), **settings)
    return Frozen(spec, model.build()) if estimand == FROZEN else Trained(spec, model)


def _progress(*, hidden: bool) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=hidden,
    )
