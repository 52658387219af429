"""`rankd replay`: what other policies would have earned, from a log."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from policies import ModelSpec, PolicyError
from rankd.commands import fail
from rankd.commands.replay_asked import check
from rankd.commands.replay_log import open_any, open_served, range_met
from rankd.commands.replay_online import live, online_summary, show_online
from rankd.commands.replay_report import write, write_lives
from rankd.commands.replay_served import doubt, served_summary, show_served
from rankd.commands.replay_show import show
from rankd.commands.replay_summary import conclude, summary
from rankd.commands.saved import Learned, learned_until, saved
from rankd.commands.sources import UNREADABLE
from simulator.estimators import ESTIMATORS
from simulator.life import ONLINE
from simulator.logs import DsjsonLog, LogFormatError
from simulator.replay import replay as replay_log
from simulator.specs import policy_of
from simulator.targets import FROZEN, Frozen, Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from policies.model import Model
    from rankd.commands.replay_asked import Asked
    from simulator.logs import Log
    from simulator.targets import Target

_STANDARDISE, _MIN_EXPLORATION = True, 0.05  # of a policy that is not said otherwise of


def replay(path: str, asked: Asked) -> int:
    """Returns the exit code."""
    models = {spec: found for spec in asked.specs if (found := saved(spec, asked.app))}
    check(asked, models)
    if asked.as_served:
        return _as_served(path, asked)
    with ExitStack() as stack:
        log = open_any(path, asked.app, asked.columns, stack)
        with _faults(path):
            limits = asked.reward_range or log.reward_range or range_met(log)
            settings = {
                "standardise": _STANDARDISE,
                "min_exploration": _MIN_EXPLORATION,
                **asked.changes,
                "reward_range": limits,
            }
            if asked.estimand == ONLINE:
                return _online(path, log, settings, asked)
            targets = [
                models[spec].target()
                if spec in models
                else _target(spec, asked.estimand, settings, log)
                for spec in asked.specs
            ]
            learned = Learned(log, learned_until(list(models.values()), log) if models else 0)
            return _estimated(path, learned, targets, limits, settings, asked)


@contextmanager
def _faults(path: str) -> Iterator[None]:
    """Ends the command with what is wrong."""
    try:
        yield
    except PolicyError as error:
        fail(str(error))
    except LogFormatError as error:
        fail(str(error), UNREADABLE)
    except ValueError as error:
        fail(f"{path}: {error}", UNREADABLE)


def _online(path: str, log: Log, settings: dict[str, Any], asked: Asked) -> int:
    model = ModelSpec(policy_of(asked.reward_model), **settings).build()
    started = time.perf_counter()
    with _progress(hidden=asked.as_json) as progress:
        found = live(
            log, Path(path).name, asked.specs, settings, model,
            seeds=asked.seeds, alpha=asked.alpha, progress=progress,
        )  # fmt: skip
    if not found.rows:
        _nothing(path)
    told = online_summary(found, time.perf_counter() - started)
    if asked.report is not None or asked.plots is not None:
        write_lives(found, asked.report, asked.plots)
    if asked.as_json:
        typer.echo(json.dumps(told))
    else:
        show_online(told, asked.alpha)
    return 0


def _as_served(path: str, asked: Asked) -> int:
    from simulator.served import AsServed, TrainedAsServed

    with ExitStack() as stack, _faults(path):
        source, log = open_served(path, asked.app, stack)
        limits = asked.reward_range or log.reward_range or range_met(log)
        ran = AsServed()
        others = [
            TrainedAsServed(spec, policy_of(spec), log, asked.changes) for spec in asked.specs
        ]
        settings = {"standardise": _STANDARDISE, **asked.changes, "reward_range": limits}

        def more() -> dict[str, Any]:
            return served_summary(source, log, ran, asked.alpha)

        return _estimated(path, Learned(log, 0), [ran, *others], limits, settings, asked, more)


def _estimated(
    path: str,
    log: Learned,
    targets: Sequence[Target],
    limits: tuple[float, float],
    settings: dict[str, Any],
    asked: Asked,
    served: Callable[[], dict[str, Any]] | None = None,
) -> int:
    """Replays the log for all of them, and says what came of it."""
    model = _reward_model(asked, settings)
    started = time.perf_counter()
    with _progress(hidden=asked.as_json) as progress:
        found = replay_log(log, targets, model, progress)
    seconds = time.perf_counter() - started
    if not found.matured:
        _nothing(path)
    found = log.rest(found)
    if not found.matured:
        fail(
            f"{path}: the saved model has learned every row of this log; give a log that goes on, or an earlier version "
            "(`rankd models list`)",
            UNREADABLE,
        )
    told_more = None if served is None else served()
    reason = "" if told_more is None else doubt(told_more)
    results = conclude(
        found, asked.estimators, limits, alpha=asked.alpha, force=asked.force, doubt=reason
    )
    if asked.report is not None or asked.plots is not None:
        write(path, found, results, limits, asked.alpha, asked.report, asked.plots)
    told = summary(found, results, seconds, asked.alpha)
    if told_more is not None:
        told["as_served"] = told_more
    if asked.as_json:
        typer.echo(json.dumps(told))
    else:
        show(told, found, asked.alpha)
        if told_more is not None:
            show_served(told_more, asked.alpha)
    return 0


def _reward_model(asked: Asked, settings: dict[str, Any]) -> Model | None:
    """None where no estimator needs one."""
    if not any(ESTIMATORS[name].needs_model for name in asked.estimators):
        return None
    return ModelSpec(policy_of(asked.reward_model), **settings).build()


def _target(spec: str, estimand: str | None, settings: dict[str, Any], log: Log) -> Target:
    name, _, args = spec.partition(":")
    if name == "vw" and args and isinstance(log, DsjsonLog) and estimand != FROZEN:
        from simulator.vw_dsjson import VwDsjson

        return VwDsjson(spec, args)
    model = ModelSpec(policy_of(spec), **settings)
    return Frozen(spec, model.build()) if estimand == FROZEN else Trained(spec, model)


def _nothing(path: str) -> NoReturn:
    fail(f"{path}: there is no decision with a final reward in this log", UNREADABLE)


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[int], None]]:
    """What is to be told how many rows there were so far."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=hidden,
    )
    with bar:
        task = bar.add_task("rows", total=None)
        yield lambda n: bar.update(task, completed=n)
