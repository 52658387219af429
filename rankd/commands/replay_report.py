"""The files that `rankd replay` writes: a page, a Markdown table, a folder of plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rankd.commands import fail
from simulator.evaluation import logged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankd.commands.replay_summary import Result
    from simulator.replay import Pass


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
