"""Latencies as a picture: how many answers took how long, and the percentiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rankd.load.tally import PERCENTILES

if TYPE_CHECKING:
    from pathlib import Path

    from rankd.load.histogram import Histogram

_COLOUR, _LINE = "#0072b2", "#c04a00"
_BARS = 60  # buckets are finer than a picture can show


def require() -> Any:
    """matplotlib's Figure.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a PNG needs matplotlib: pip install 'rankd[plots]'", name="matplotlib"
        ) from error
    return Figure


def draw(found: Histogram, title: str, path: Path) -> None:
    """Writes a PNG. Raises OSError where the file cannot be written."""
    import numpy as np

    figure = require()(figsize=(8, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    values = [(max(us, 1) / 1000, count) for us, count in found]
    low, high = values[0][0] / 1.05, values[-1][0] * 1.05
    times, counts = zip(*values, strict=True)
    axes.hist(times, bins=np.geomspace(low, high, _BARS), weights=counts, color=_COLOUR)
    axes.set_xscale("log")
    for axis in ("major", "minor"):
        getattr(axes.xaxis, f"set_{axis}_formatter")("{x:g}")
    for q, us in zip(PERCENTILES, found.percentiles(list(PERCENTILES)), strict=True):
        axes.axvline(max(us, 1) / 1000, color=_LINE, linewidth=1)
        axes.annotate(
            f"p{q:g} {us / 1000:.2f}",
            (max(us, 1) / 1000, 1.0),
            xycoords=("data", "axes fraction"),
            rotation=90,
            va="top",
            ha="right",
            fontsize=8,
            color=_LINE,
        )
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("answers")
    axes.set_title(title, loc="left", fontsize=10)
    figure.savefig(path)
