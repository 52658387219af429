"""`rankd tune`: which settings, from a log, and what the best of them is worth on rows that had no part in choosing it."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import typer

from policies import PolicyError
from rankd.commands import check_alpha, check_report, fail
from rankd.commands.progress import bar
from rankd.commands.replay_log import open_any
from rankd.commands.sources import UNREADABLE, note_what_lacks
from rankd.commands.tune_show import markdown, show
from simulator.experiments import CHOOSE_ON, NothingToChooseError, StoreError
from simulator.experiments import tune as search
from simulator.logs import LogFormatError
from simulator.met import RangeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from simulator.logs import Log


@dataclass(frozen=True, slots=True)
class AnyLog:
    """Whatever the command line takes for a log, to be opened wherever a trial is run."""

    path: str
    app: str | None
    columns: str | None
    _read: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    # The path, once it was read: what was not all there is said once, not again by each trial.

    @contextmanager
    def open(self) -> Iterator[Log]:
        with ExitStack() as stack:
            log = open_any(self.path, self.app, self.columns, stack)
            yield log
            if self.path not in self._read:
                self._read.add(self.path)
                note_what_lacks(log)


def tune(
    path: str,
    specs: Sequence[str],
    *,
    app: str | None,
    columns: str | None,
    estimator: str,
    estimand: str,
    choose_on: float | None,
    score_on_chosen: bool,
    reward_range: tuple[float, float] | None,
    min_exploration: float,
    standardise: bool,
    reward_model: str,
    alpha: float,
    force: bool,
    jobs: int,
    resume: Path | None,
    report: Path | None,
    as_json: bool,
) -> int:
    check_alpha(alpha)
    check_report(report, (".md",))
    share = _share(choose_on, score_on_chosen=score_on_chosen)
    try:
        with bar("passes over the log", hidden=as_json) as tell:
            found = search(
                AnyLog(path, app, columns),
                specs,
                estimator=estimator,
                estimand=estimand,
                choose_on=share,
                score_on_chosen=score_on_chosen,
                reward_range=reward_range,
                standardise=standardise,
                min_exploration=min_exploration,
                reward_model=reward_model,
                alpha=alpha,
                force=force,
                jobs=jobs,
                folder=resume,
                progress=tell,
            )
    except (PolicyError, StoreError) as error:
        fail(str(error))
    except LogFormatError as error:
        fail(str(error), UNREADABLE)
    except NothingToChooseError as error:
        fail(f"{path}: {error}", UNREADABLE)
    except RangeError as error:
        fail(f"--reward-range: {error}")
    except ValueError as error:  # of what was asked; the log's are above
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or path}: {error.strerror or error}")
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        show(found, alpha)
    if report is not None:
        _write(report, markdown(found, path))
    return 0


def _share(choose_on: float | None, *, score_on_chosen: bool) -> float:
    """Of the decisions, to choose on."""
    if score_on_chosen and choose_on not in (None, 1.0):
        fail("--score-on-chosen: takes all rows for both; leave --choose-on out")
    if choose_on == 1.0 and not score_on_chosen:
        fail(
            "--choose-on 1: leaves no row to value the best on, and on the rows that it was chosen on its value is too high, as it was "
            f"chosen for being high. Leave some (--choose-on {CHOOSE_ON:g}), or see it all the same, marked: --score-on-chosen"
        )
    return CHOOSE_ON if score_on_chosen or choose_on is None else choose_on


def _write(report: Path, text: str) -> None:
    try:
        report.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"--report {report}: {error.strerror or error}")
