"""The files that `rankd replay` writes: a page, a Markdown table, a folder of plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rankd.commands import fail
from simulator.evaluation import logged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rankd.commands.replay_summary import Result
    from simulator.replay import Pass
    from simulator.reports import LivesInput, ReportInput

    R = TypeVar("R", ReportInput, LivesInput)


def write(
    path: str,
    found: Pass,
    results: Sequence[Result],
    limits: tuple[float, float],
    alpha: float,
    report: Path | None,
    plots: Path | None,
) -> None:
    """The report as one page, as a Markdown table, or as a folder of plots."""
    from simulator.reports import PolicyInput, ReportInput, html, markdown

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
    _write(given, html, markdown, report, plots)


def write_lives(given: LivesInput, report: Path | None, plots: Path | None) -> None:
    """The same of policies that lived through the log."""
    from simulator.reports import lives_html, lives_markdown

    _write(given, lives_html, lives_markdown, report, plots)


def _write(
    given: R,
    html: Callable[[R], str],
    markdown: Callable[[R], str],
    report: Path | None,
    plots: Path | None,
) -> None:
    from simulator.reports import png

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
