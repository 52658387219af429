"""`rankd replay`: what other policies would have earned, from a log."""

from __future__ import annotations

import json
import math
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from policies import ModelSpec, PolicyError
from rankd.commands import fail
from rankd.commands.reward_models import Fitting
from rankd.commands.reward_models import check as check_model
from rankd.commands.sources import TOPIC, UNREADABLE
from rankd.commands.sources import open_log as open_source
from simulator.datasets import DATASETS, log_of
from simulator.estimators import ESTIMATORS, MRDR
from simulator.evaluation import Estimate, difference, evaluate, logged
from simulator.intervals import INTERVALS
from simulator.logs import Columns, DsjsonLog, LogFormatError, Matured, open_log
from simulator.replay import replay as replay_log
from simulator.specs import policy_of
from simulator.targets import FROZEN, Frozen, Trained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.evaluation import Evaluation
    from simulator.logs import Log
    from simulator.replay import Pass
    from simulator.sample import Sample
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
    unknown = [name for name in estimators if name not in ESTIMATORS]
    if unknown:
        fail(f"--estimator {unknown[0]}: there is none; known are {', '.join(ESTIMATORS)}")
    if interval is not None and interval not in INTERVALS:
        fail(f"--interval {interval}: there is none; known are {', '.join(INTERVALS)}")
    check_model(cross_fit, estimators, estimand, interval)
    with ExitStack() as stack:
        log = _open(path, app, columns, stack)
        try:
            limits = reward_range or log.reward_range or _met(log)
            settings: dict[str, Any] = {
                "standardise": standardise,
                "min_exploration": min_exploration,
                "reward_range": limits,
            }
            targets = [_target(spec, estimand, settings, log) for spec in specs]
            fitting = Fitting(policy_of(reward_model), settings, cross_fit)
            started = time.perf_counter()
            with _progress(hidden=as_json) as progress:
                task = progress.add_task("rows", total=None)
                found = replay_log(
                    log,
                    targets,
                    fitting.of(log, estimators),
                    lambda n: progress.update(task, completed=n),
                )
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
        results = _results(
            found, mrdr, estimators, limits, alpha=alpha, force=force, interval=interval
        )
    except ValueError as error:
        fail(f"{path}: {error}", UNREADABLE)
    if report is not None or plots is not None:
        _write(path, found, results, limits, alpha, report, plots)
    summary = _summary(found, results, seconds, alpha)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        _show(summary, found, alpha)
    return 0


def _open(path: str, app: str | None, columns: str | None, stack: ExitStack) -> Log:
    if path in DATASETS:
        try:
            return log_of(path)
        except (ValueError, OSError) as error:
            fail(str(error), UNREADABLE)
    if path.startswith(TOPIC) or Path(path).is_dir():
        return open_log(stack.enter_context(open_source(path, app)), app=app)
    try:
        return open_log(path, app=app, columns=None if columns is None else _columns(columns))
    except (LogFormatError, OSError) as error:
        fail(f"{path}: {error}" if isinstance(error, OSError) else str(error), UNREADABLE)


def _columns(text: str) -> Columns:
    """From action=NAME,reward=NAME,propensity=NAME,key=NAME."""
    known = ("action", "reward", "propensity", "key")
    given = dict(part.partition("=")[::2] for part in text.split(","))
    if not (set(given) <= set(known) and all(given.values())):
        fail(f"--columns {text}: write what=column with commas between; what is {', '.join(known)}")
    return Columns(**given)  # type: ignore[arg-type]  # names, all of them


def _met(log: Log) -> tuple[float, float]:
    """The range of the rewards in the log, where nothing says what could have been."""
    rewards = [event.reward for event in log if isinstance(event, Matured)]
    low, high = min(rewards, default=0.0), max(rewards, default=1.0)
    if low == high:
        low, high = min(low, 0.0), max(high, low + 1.0)
    typer.echo(
        f"rewards taken to lie between {low:g} and {high:g}, as those in the log do; say otherwise with --reward-range",
        err=True,
    )
    return low, high


def _target(spec: str, estimand: str, settings: dict[str, Any], log: Log) -> Target:
    name, _, args = spec.partition(":")
    if name == "vw" and args and isinstance(log, DsjsonLog) and estimand != FROZEN:
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


class _Result(NamedTuple):
    """What is said of one policy."""

    evaluation: Evaluation
    vs_first: Estimate | None


def _results(
    found: Pass,
    mrdr: Sequence[Sample],
    estimators: Sequence[str],
    limits: tuple[float, float],
    *,
    alpha: float,
    force: bool,
    interval: str | None,
) -> list[_Result]:
    samples = mrdr if estimators[0] == MRDR.name else [one.sample for one in found.replayed]
    results = []
    for i, one in enumerate(found.replayed):
        evaluation = evaluate(
            one.sample,
            one.actions,
            one.target.estimand,
            estimators,
            limits,
            alpha=alpha,
            force=force,
            interval=interval,
            own={MRDR.name: mrdr[i]} if mrdr else None,
        )
        versus = None
        if i and not evaluation.reason:
            versus = difference(samples[i], samples[0], estimators[0], alpha)
        results.append(_Result(evaluation, versus))
    return results


def _summary(
    found: Pass, results: Sequence[_Result], seconds: float, alpha: float
) -> dict[str, Any]:
    """As --json has it."""
    first = found.replayed[0].sample
    own = logged(first, alpha)
    rows = []
    for one, (evaluation, versus) in zip(found.replayed, results, strict=True):
        row = {"policy": one.target.name, "n": evaluation.n, "estimand": one.target.estimand}
        row |= {"estimators": {name: _plain(each) for name, each in evaluation.estimators.items()}}
        row |= {"vs_logged": _plain(evaluation.vs_logged)}
        if versus is not None:
            row |= {"vs_first": _plain(versus)}
        rows.append({**row, **_overlap(evaluation), "seconds": seconds})
    summary: dict[str, Any] = {
        "logged": {"value": own.value, "low": own.low, "high": own.high, "n": len(first)}
    }
    return {**summary, "decisions": found.decided, "policies": rows}


def _write(
    path: str,
    found: Pass,
    results: Sequence[_Result],
    limits: tuple[float, float],
    alpha: float,
    report: Path | None,
    plots: Path | None,
) -> None:
    """The report as one page, as a Markdown table, or as a folder of plots."""
    from simulator.reports import PolicyInput, ReportInput, html, markdown, png

    policies = [
        PolicyInput(one.target.name, one.target.estimand, one.sample, evaluation, versus)
        for one, (evaluation, versus) in zip(found.replayed, results, strict=True)
    ]
    given = ReportInput(
        log=Path(path).name,
        logged=logged(found.replayed[0].sample, alpha),
        reward_range=limits,
        decided=found.decided,
        alpha=alpha,
        policies=policies,
    )
    try:
        if report is not None:
            text = markdown(given) if report.suffix == ".md" else html(given)
            report.write_text(text, encoding="utf-8")
        if plots is not None:
            png(given, plots)
    except ModuleNotFoundError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")


def _plain(estimate: Estimate) -> dict[str, Any]:
    return asdict(estimate)


def _overlap(result: Evaluation) -> dict[str, Any]:
    overlap = result.overlap
    return {
        "ess": _finite(overlap.ess),
        "max_weight": _finite(overlap.max_weight),
        "mean_weight": _finite(overlap.mean_weight),
        "unsupported_mass": _finite(overlap.unsupported),
    }


def _finite(number: float | None) -> float | None:
    """JSON has no infinity and no NaN."""
    return number if number is not None and math.isfinite(number) else None


def _show(report: dict[str, Any], found: Pass, alpha: float) -> None:
    console = Console()
    own = report["logged"]
    console.print(
        f"The log: {found.decided:,} decisions, {found.matured:,} with a final reward, which is {_interval(own)} on average."
    )
    for row in report["policies"]:
        what = (
            "as it was, frozen"
            if row["estimand"] == FROZEN
            else "trained on the log as it went, which is not what it would earn live"
        )
        table = Table(title=f"{row['policy']}: {what}", title_justify="left")
        for column in ("estimator", "value", f"{1 - alpha:.0%} interval"):
            table.add_column(column, no_wrap=True)
        table.add_column("by")
        reasons = {each["reason"] for each in row["estimators"].values()}
        if len(reasons) == 1 and all(
            not each["identifiable"] for each in row["estimators"].values()
        ):
            console.print(
                f"{row['policy']}: this log cannot tell. {reasons.pop()}.", highlight=False
            )
            if all(each["value"] is None for each in row["estimators"].values()):
                continue
        for name, each in row["estimators"].items():
            table.add_row(each["setting"] or name, *_cells(each))
        table.add_row("minus the log", *_cells(row["vs_logged"]), style="bold")
        if "vs_first" in row:
            table.add_row("minus the first policy", *_cells(row["vs_first"]), style="bold")
        console.print(table)
        console.print(
            f"worth {row['ess'] or 0:,.0f} rows of its own; greatest weight {row['max_weight'] or math.inf:.3g}, "
            f"mean {row['mean_weight'] or math.nan:.3f}\n"
        )


def _cells(each: dict[str, Any]) -> tuple[str, str, str]:
    if each["value"] is None:
        return "refused", "", each["reason"]
    value = f"{each['value']:.5g}" + ("" if each["identifiable"] else " (not to be believed)")
    low, high = each["low"], each["high"]
    return value, "" if low is None else f"{low:.5g} to {high:.5g}", each["interval"]


def _interval(own: dict[str, Any]) -> str:
    if own["low"] is None:
        return f"{own['value']:.5g}"
    return f"{own['value']:.5g} ({own['low']:.5g} to {own['high']:.5g})"
