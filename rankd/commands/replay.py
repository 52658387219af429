"""`rankd replay`: what other policies would have earned, from a log."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from policies import PolicyError
from rankd.commands import fail
from rankd.commands.learned import Learned, learned_until
from rankd.commands.progress import counted
from rankd.commands.replay_asked import check
from rankd.commands.replay_log import open_any, open_served, range_met, read_of
from rankd.commands.replay_online import show_online
from rankd.commands.replay_report import write, write_lives
from rankd.commands.replay_served import doubt, served_summary, show_served
from rankd.commands.replay_show import show
from rankd.commands.saved import SavedTarget, saved
from rankd.commands.sources import UNREADABLE, note_what_lacks
from simulator.comparison import Comparison
from simulator.conclusion import conclude, with_doubt
from simulator.fitting import DishonestError, Fitting
from simulator.fitting import check as check_model
from simulator.life import ONLINE
from simulator.lives import live
from simulator.logs import LogFormatError
from simulator.met import RangeError, check_range
from simulator.replay import replay as replay_log
from simulator.slate_conclusion import (
    as_pass,
    conclude_slates,
    range_of_slates,
    replayed_slates,
)
from simulator.specs import policy_of
from simulator.target_specs import target_of
from simulator.targets import TRAINED_ON_LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rankd.commands.replay_asked import Asked
    from simulator.conclusion import Result
    from simulator.logs import Log
    from simulator.replay import Pass
    from simulator.targets import Target

_STANDARDISE, _MIN_EXPLORATION = True, 0.05  # of a policy that is not said otherwise of


def replay(path: str, asked: Asked) -> int:
    """Returns the exit code."""
    models = {spec: found for spec in asked.specs if (found := saved(spec, asked.app))}
    check(asked, models)
    if asked.as_served:
        return _as_served(path, asked)
    with ExitStack() as stack:
        log = open_any(path, asked.app, asked.columns, stack, of_model=bool(models))
        stack.callback(note_what_lacks, log)  # once it has been read
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
                else target_of(
                    spec,
                    policy_of(spec),
                    log,
                    asked.estimand or TRAINED_ON_LOG,
                    settings,
                    vw_parser=not asked.of_slates,
                )
                for spec in asked.specs
            ]
            learned = Learned(log, learned_until(list(models.values()), log) if models else 0)
            if asked.of_slates:
                return _slates(path, learned, targets, limits, settings, asked)
            return _estimated(path, learned, targets, limits, settings, asked)


@contextmanager
def _faults(path: str) -> Iterator[None]:
    """Ends the command with what is wrong."""
    try:
        yield
    except (PolicyError, DishonestError) as error:
        fail(str(error))
    except LogFormatError as error:
        fail(str(error), UNREADABLE)
    except RangeError as error:
        fail(f"--reward-range: {error}")
    except ValueError as error:
        fail(f"{path}: {error}", UNREADABLE)


def _online(path: str, log: Log, settings: dict[str, Any], asked: Asked) -> int:
    if asked.reward_range is None and log.reward_range is not None:
        # Not ours to say: a server's log may have had several ranges, and rewards of each.
        settings = settings | {"reward_range": None}
    started = time.perf_counter()
    with counted("rows", read_of(log), hidden=asked.as_json) as progress:
        found = live(
            log, asked.specs,
            seeds=asked.seeds, reward_model=asked.reward_model, alpha=asked.alpha, progress=progress, **settings,
        )  # fmt: skip
    if not found.rows:
        _nothing(path)
    told = found.to_dict(time.perf_counter() - started)
    if asked.report is not None or asked.plots is not None:
        write_lives(replace(found, log=Path(path).name), asked.report, asked.plots)
    if asked.as_json:
        typer.echo(json.dumps(told))
    else:
        show_online(told, asked.alpha)
    return 0


def _as_served(path: str, asked: Asked) -> int:
    from simulator.served import AsServed
    from simulator.trained_as_served import TrainedAsServed

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
    check_model(asked.cross_fit, asked.estimators, targets, asked.interval)
    fitting = Fitting(policy_of(asked.reward_model, "--reward-model"), settings, asked.cross_fit)
    started = time.perf_counter()
    with counted("rows", read_of(log.log), hidden=asked.as_json) as progress:
        found = replay_log(log, targets, fitting.of(log.log, asked.estimators), progress)
        mrdr = fitting.of_mrdr(log.log, targets, asked.estimators)
    seconds = time.perf_counter() - started
    if not found.matured:
        _nothing(path)
    if asked.reward_range is not None:
        check_range(found.replayed[0].sample.reward, asked.reward_range)
    found = log.rest(found)
    if not found.matured:
        fail(
            f"{path}: the saved model has learned every row of this log; give a log that goes on, or an earlier version "
            "(`rankd models list`)",
            UNREADABLE,
        )
    told_more = None if served is None else served()
    reason = "" if told_more is None else doubt(told_more)
    mrdr = [log.rows(sample) for sample in mrdr]
    results = conclude(
        found, mrdr, asked.estimators, limits,
        alpha=asked.alpha, force=asked.force, interval=asked.interval, doubt=reason,
        range_met=asked.reward_range is None and log.reward_range is None,
    )  # fmt: skip
    return _tell(path, found, results, limits, seconds, asked, told_more)


def _slates(
    path: str,
    log: Learned,
    targets: Sequence[Target],
    limits: tuple[float, float],
    settings: dict[str, Any],
    asked: Asked,
) -> int:
    """The same, with a slate for a row."""
    fitting = Fitting(policy_of(asked.reward_model, "--reward-model"), settings, None)
    started = time.perf_counter()
    with counted("rows", read_of(log.log), hidden=asked.as_json) as progress:
        slates = replayed_slates(log, targets, asked.estimators, fitting, progress)
    seconds = time.perf_counter() - started
    if not slates.matured:
        _nothing(path)
    if log.matured:
        fail(
            f"{path}: the saved model has learned rows of this log; give a log that goes on",
            UNREADABLE,
        )
    if asked.reward_range is not None:  # of a slot, as policies learn it
        check_range(slates.met, asked.reward_range)
    results = conclude_slates(
        slates, asked.estimators, alpha=asked.alpha, force=asked.force, interval=asked.interval
    )
    limits = range_of_slates(limits, slates)
    return _tell(path, as_pass(slates), results, limits, seconds, asked)


def _tell(
    path: str,
    found: Pass,
    results: Sequence[Result],
    limits: tuple[float, float],
    seconds: float,
    asked: Asked,
    told_more: dict[str, Any] | None = None,
) -> int:
    results = [
        _known(one.target, result) for one, result in zip(found.replayed, results, strict=True)
    ]
    compared = Comparison(Path(path).name, found, results, limits, asked.alpha)
    if asked.report is not None or asked.plots is not None:
        write(compared, asked.report, asked.plots)
    told = compared.to_dict(seconds)
    if told_more is not None:
        told["as_served"] = told_more
    if asked.as_json:
        typer.echo(json.dumps(told))
    else:
        show(told, found, asked.alpha)
        if told_more is not None:
            show_served(told_more, asked.alpha)
    return 0


def _known(target: Target, result: Result) -> Result:
    """With what a saved model does not know."""
    doubt = target.doubt if isinstance(target, SavedTarget) else ""
    if doubt:
        typer.echo(f"note: --policy {target.name}: {doubt}", err=True)
    return with_doubt(result, doubt)


def _nothing(path: str) -> NoReturn:
    fail(f"{path}: there is no decision with a final reward in this log", UNREADABLE)
