"""Figures as PNG, for slides and chats: with matplotlib, which is loaded on first use only (`pip install 'rankd[plots]'`)."""

from __future__ import annotations

import warnings
from math import isfinite
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.reports import figures, lives, ticks, words, worlds
from simulator.reports.figures import Bars, Figure, Forest, Lines
from simulator.reports.given import LivesInput, WorldInput

if TYPE_CHECKING:
    from os import PathLike

    from simulator.reports.given import ReportInput

DPI = 150
COLOURS = ("#0072b2", "#c04a00", "#59636e", "#007a5a", "#a83f7f", "#8a6d00")
GRID, MUTED = "#e4e8ec", "#59636e"
ROW = 0.3  # inches
REASON = 74  # characters of a line
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.axisbelow": True,
    "text.parse_math": False,  # a $ in a name is a $
}


def png(report: ReportInput | LivesInput | WorldInput, folder: str | PathLike[str]) -> list[Path]:
    """Draws every figure into a folder, which is made if it is not there; returns the files.

    Each file carries its figure's text for those who do not see it as the PNG's Description.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message says how to install it.
        OSError: the folder cannot be made or written to.
    """
    matplotlib, figure_class = _matplotlib()
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    drawn = _all_of(report)
    files = []
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; the page has the name.
        warnings.filterwarnings("ignore", r"Glyph \d+")
        for figure in drawn:
            canvas = _draw(figure, figure_class)
            file = into / f"{figure.key}.png"
            about = {"Title": figure.title, "Description": figure.alt}
            canvas.savefig(file, dpi=DPI, metadata=about, bbox_inches="tight", pad_inches=0.15)
            files.append(file)
    return files


def _all_of(report: ReportInput | LivesInput | WorldInput) -> list[Figure]:
    if isinstance(report, LivesInput):
        return lives.all_of(report)
    return worlds.all_of(report) if isinstance(report, WorldInput) else figures.all_of(report)


def _matplotlib() -> tuple[Any, Any]:
    """The package, and its figure without pyplot: no window, nothing global."""
    try:
        import matplotlib
        from matplotlib.figure import Figure as Canvas
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "PNG plots need matplotlib: pip install 'rankd[plots]'; the HTML report needs none",
            name="matplotlib",
        ) from error
    return matplotlib, Canvas


def _draw(figure: Figure, canvas_class: Any) -> Any:
    if isinstance(figure, Forest):
        return _forest(figure, canvas_class)
    canvas = canvas_class(figsize=(7, 4.2), layout="constrained")
    axes = canvas.subplots()
    if isinstance(figure, Lines):
        _lines(figure, axes)
    else:
        _bars(figure, axes)
    axes.set_title(fill(words.shorten(figure.title, 140), 70), loc="left", fontsize=11)
    axes.set_xlabel(figure.x_label)
    axes.set_ylabel(figure.y_label)
    _caption(canvas, figure)
    return canvas


def _caption(canvas: Any, figure: Figure, width: int = 100) -> None:
    """Below everything else; the file grows with it."""
    canvas.text(0.02, -0.02, fill(figure.caption, width), va="top", fontsize=8.5, color=MUTED)


def _forest(figure: Forest, canvas_class: Any) -> Any:
    places: list[float] = []
    y = 0.0
    for row in figure.rows:
        if row.estimate is None and places:
            y += 0.25
        places.append(y)
        y += 1 + (0.5 * fill(row.text, REASON).count("\n") if row.refused else 0)
    canvas = canvas_class(figsize=(9, ROW * y + 1.0))
    axes = canvas.subplots()
    canvas.subplots_adjust(left=0.18, right=0.72, top=1 - 0.35 / (ROW * y + 1.0), bottom=0.6 / (ROW * y + 1.0))  # fmt: skip
    beside = {"transform": axes.get_yaxis_transform(), "clip_on": False}
    if figure.mark is not None:
        axes.axvline(figure.mark, color=MUTED, linestyle="--", linewidth=1, zorder=1)
    for row, at in zip(figure.rows, places, strict=True):
        _forest_row(row, at, axes, beside)
    axes.set_ylim(y - 0.3, -0.7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID)
    axes.margins(x=0.05)
    axes.set_xlabel(figure.x_label)
    canvas.text(0.02, 1.0, figure.title, fontsize=11, va="top")
    _caption(canvas, figure, 130)
    return canvas


def _forest_row(row: figures.Row, at: float, axes: Any, beside: dict[str, Any]) -> None:
    # A grid line behind a text would be read as part of it.
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    estimate = row.estimate
    if estimate is None:
        label = words.shorten(row.label, 90)
        axes.text(-0.31, at, label, va="center", weight="bold", bbox=box, zorder=4, **beside)
        return
    axes.text(-0.28, at, row.label, va="center", **beside)
    if estimate.value is None:
        reason = fill(row.text, REASON)
        axes.text(0, at - 0.35, reason, va="top", color=MUTED, bbox=box, fontsize=9, zorder=4, **beside)  # fmt: skip
        return
    if estimate.low is not None and estimate.high is not None:
        ends = [[max(0.0, estimate.value - estimate.low)], [max(0.0, estimate.high - estimate.value)]]  # fmt: skip
        axes.errorbar(estimate.value, at, xerr=ends, color=COLOURS[0], capsize=4, linewidth=1.6, zorder=2)  # fmt: skip
    inside = COLOURS[0] if estimate.identifiable else "white"
    axes.plot(estimate.value, at, "o", color=COLOURS[0], markerfacecolor=inside, zorder=3)
    axes.text(1.03, at, row.text, va="center", **beside)


def _lines(figure: Lines, axes: Any) -> None:
    for line in figure.lines:
        curve, colour = line.curve, COLOURS[line.colour]
        if np.isfinite(curve.low).any():
            axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        style = "--" if line.dashed else "-"
        axes.plot(curve.x, curve.y, style, color=colour, linewidth=1.6, label=line.name)
    low, high = figure.y_range
    room = 0.04 * (high - low) or max(abs(low), 1.0) * 0.1
    axes.set_ylim(low - room if low else low, high + room)
    axes.grid(axis="y", color=GRID)
    first, last = (float(figure.lines[0].curve.x[end]) for end in (0, -1))
    if figure.log_x:
        _log(axes, first, last)
    elif first < last:
        axes.set_xlim(first, last)
        axes.xaxis.set_major_formatter(lambda value, _: ticks.label(value))
    if len(figure.lines) > 1:
        axes.legend(frameon=False, ncols=3, loc="best")


def _bars(figure: Bars, axes: Any) -> None:
    found = figure.histogram
    if not len(found.shares):
        axes.text(0.5, 0.5, "all weights are 0", ha="center", transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    edges = found.edges
    axes.bar(edges[:-1], found.shares, np.diff(edges), align="edge", color=COLOURS[0], edgecolor="white", linewidth=0.5)  # fmt: skip
    axes.axvline(1.0, color=MUTED, linestyle="--", linewidth=1)
    axes.grid(axis="y", color=GRID)
    _log(axes, min(float(edges[0]), 1.0) / 1.1, max(float(edges[-1]), 1.0) * 1.1)


def _log(axes: Any, low: float, high: float) -> None:
    """A log scale of x with labels that are numbers, not powers."""
    if not (isfinite(low) and isfinite(high) and 0 < low < high):
        return
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    found = ticks.log(low, high)
    axes.set_xticks(found, [ticks.label(tick) for tick in found])
    axes.minorticks_off()
