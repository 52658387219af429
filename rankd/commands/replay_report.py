"""The files that `rankd replay` and `rankd simulate` write: a page, a Markdown table, a folder of plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rankd.commands import fail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from simulator.comparison import Comparison
    from simulator.reports import LivesInput, ReportInput, WorldInput

    R = TypeVar("R", ReportInput, LivesInput, WorldInput)


def write(found: Comparison, report: Path | None, plots: Path | None) -> None:
    """The report as one page, as a Markdown table, or as a folder of plots."""
    from simulator.reports import html, markdown

    _write(found.report_input(), html, markdown, report, plots)


def write_lives(given: LivesInput, report: Path | None, plots: Path | None) -> None:
    """The same of policies that lived through the log."""
    from simulator.reports import lives_html, lives_markdown

    _write(given, lives_html, lives_markdown, report, plots)


def write_world(given: WorldInput, report: Path | None, plots: Path | None) -> None:
    """The same of policies that played in a world."""
    from simulator.reports import world_html, world_markdown

    _write(given, world_html, world_markdown, report, plots)


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
