"""A figure as SVG to stand in a page: colours are the page's variables, so that it is light or dark with it.

No namespace is declared: within HTML none is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import isfinite, log10
from textwrap import wrap
from typing import TYPE_CHECKING

from simulator.reports import ticks, words
from simulator.reports.figures import Bars, Figure, Forest, Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.reports.curves import Column, Curve
    from simulator.reports.figures import Line, Row

# Pixels.
WIDE, NARROW, HEIGHT = 860, 520, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 28, 34, 48
ROW, SPACE = 26, 16
LABELS, FIGURES = 150, 270  # columns of a forest plot, beside the intervals
REASON = 100  # characters of a line


@dataclass(frozen=True, slots=True)
class _Scale:
    """From numbers to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = log10(low), log10(high), log10(value)
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + (self.end - self.start) * share

    def ticks(self, about: int = 5) -> list[float]:
        """Round numbers."""
        if self.log:
            return ticks.log(self.low, self.high)
        return ticks.linear(self.low, self.high, about)


def draw(figure: Figure) -> str:
    """The figure, with its title and its text for screen readers."""
    if isinstance(figure, Forest):
        return _forest(figure)
    if isinstance(figure, Lines):
        return _lines(figure)
    return _bars(figure)


def _svg(figure: Figure, width: int, height: float, body: list[str]) -> str:
    key = escape(figure.key)
    return "\n".join(
        [
            f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-labelledby="{key}-title {key}-alt" style="max-width:{width}px">',
            f'<title id="{key}-title">{escape(figure.title)}</title>',
            f'<desc id="{key}-alt">{escape(figure.alt)}</desc>',
            *body,
            "</svg>",
        ]
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    """A row of a forest plot and where it goes."""

    row: Row
    y: float  # of its first line's middle
    reason: tuple[str, ...]  # lines


def _placed(rows: Sequence[Row]) -> tuple[list[_Placed], float]:
    """Rows one below the other, and where they end."""
    found: list[_Placed] = []
    y = 14.0
    for row in rows:
        if row.estimate is None and found:
            y += 8
        reason = tuple(wrap(row.text, REASON)) if row.refused else ()
        found.append(_Placed(row, y, reason))
        y += ROW + SPACE * max(0, len(reason) - 1)
    return found, y - 6


def _forest(figure: Forest) -> str:
    left, right = LABELS + 20, WIDE - FIGURES - 16
    x = _Scale(*_span(figure), left, right)
    placed, bottom = _placed(figure.rows)
    body = [
        _line(x(tick), 4, x(tick), bottom, "rule") + _tick_x(x(tick), bottom, tick)
        for tick in x.ticks()
    ]
    if figure.mark is not None:
        body.append(_line(x(figure.mark), 4, x(figure.mark), bottom, "mark"))
    for each in placed:
        body += _forest_row(each, x)
    body.append(_text((left + right) / 2, bottom + 38, figure.x_label, "middle", "muted"))
    return _svg(figure, WIDE, bottom + 46, body)


def _forest_row(placed: _Placed, x: _Scale) -> list[str]:
    row, y, base = placed.row, placed.y, placed.y + 4
    if row.estimate is None:
        heading = _text(4, base, words.shorten(row.label, 110), css="strong")
        return [_blank(0, y - 14, ROW), heading]
    label = _text(20, base, row.label)
    if row.refused:
        lines = [
            _text(x.start, base + SPACE * k, line, css="muted")
            for k, line in enumerate(placed.reason)
        ]
        return [_blank(x.start - 4, y - 12, SPACE * len(lines) + 4), label, *lines]
    return [label, *_whiskers(row, x, y), _text(WIDE - FIGURES, base, row.text)]


def _blank(x: float, y: float, height: float) -> str:
    """Ground behind a text that goes across: a grid line there would be read as part of it."""
    return f'<rect class="blank" x="{x:g}" y="{y:g}" width="{WIDE - x:g}" height="{height:g}"/>'


def _span(figure: Forest) -> tuple[float, float]:
    """From the least end to the greatest, and a little more."""
    numbers = [
        end
        for row in figure.rows
        if row.estimate is not None
        for end in (row.estimate.value, row.estimate.low, row.estimate.high, figure.mark)
        if end is not None and isfinite(end)
    ]
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    room = 0.05 * (high - low) or max(abs(low), 1.0) * 0.1
    return low - room, high + room


def _whiskers(row: Row, x: _Scale, y: float) -> list[str]:
    estimate = row.estimate
    assert estimate is not None
    assert estimate.value is not None
    found = []
    if estimate.low is not None and estimate.high is not None:
        ends = [x(max(x.low, min(x.high, end))) for end in (estimate.low, estimate.high)]
        found.append(_line(ends[0], y, ends[1], y, "whisker"))
        found += [_line(end, y - 5, end, y + 5, "whisker") for end in ends]
    css = "point" if estimate.identifiable else "hollow"
    found.append(f'<circle class="{css}" cx="{x(estimate.value):.1f}" cy="{y:g}" r="4.5"/>')
    return found


def _frame(x: _Scale, y: _Scale, x_label: str, y_label: str) -> list[str]:
    """Grid, ticks and labels of both axes."""
    found = []
    for tick in y.ticks():
        found.append(_line(x.start, y(tick), x.end, y(tick), "rule"))
        found.append(_text(x.start - 8, y(tick) + 4, ticks.label(tick), "end", "muted"))
    found += [_tick_x(x(tick), y.start, tick) for tick in x.ticks()]
    found.append(_line(x.start, y.start, x.end, y.start, "axis"))
    found.append(_text((x.start + x.end) / 2, y.start + 38, x_label, "middle", "muted"))
    found.append(_text(4, 14, y_label, css="muted"))
    return found


def _lines(figure: Lines) -> str:
    first = figure.lines[0].curve
    x = _Scale(float(first.x[0]), float(first.x[-1]), LEFT, NARROW - RIGHT, figure.log_x)
    low, high = figure.y_range
    room = 0.04 * (high - low) or max(abs(low), 1.0) * 0.1
    y = _Scale(low - room if low else low, high + room, HEIGHT - BOTTOM, TOP)
    body = _frame(x, y, figure.x_label, figure.y_label)
    clip = f"{figure.key}-clip"
    body.append(
        f'<clipPath id="{clip}"><rect x="{LEFT}" y="{TOP}" width="{NARROW - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/></clipPath><g clip-path="url(#{clip})">'
    )
    body += [_band(line, x, y) for line in figure.lines]
    body += [_curve(line, x, y) for line in reversed(figure.lines)]
    body.append("</g>")
    if len(figure.lines) > 1:
        body += _legend(figure)
    return _svg(figure, NARROW, HEIGHT, body)


def _legend(figure: Lines) -> list[str]:
    found, at = [], NARROW - RIGHT - 84.0 * len(figure.lines)
    for line in figure.lines:
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        found.append(
            f'<line class="curve c{line.colour}" x1="{at:g}" x2="{at + 20:g}" y1="10" y2="10"{dash}/>'
        )
        found.append(_text(at + 26, 14, line.name))
        at += 84
    return found


def _curve(line: Line, x: _Scale, y: _Scale) -> str:
    path = _path(line.curve, line.curve.y, x, y)
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    return f'<polyline class="curve c{line.colour}" points="{" ".join(path)}"{dash}/>'


def _band(line: Line, x: _Scale, y: _Scale) -> str:
    there = _path(line.curve, line.curve.low, x, y)
    back = _path(line.curve, line.curve.high, x, y)[::-1]
    if not there:
        return ""
    return f'<polygon class="band b{line.colour}" points="{" ".join(there + back)}"/>'


def _path(curve: Curve, heights: Column, x: _Scale, y: _Scale) -> list[str]:
    # Far outside is as good as outside, and keeps the numbers short.
    return [
        f"{x(float(a)):.1f},{max(-999.0, min(9999.0, y(float(b)))):.1f}"
        for a, b in zip(curve.x, heights, strict=True)
        if isfinite(b)
    ]


def _bars(figure: Bars) -> str:
    found = figure.histogram
    if not len(found.shares):
        nothing = _text(NARROW / 2, 40, "all weights are 0", "middle", "muted")
        return _svg(figure, NARROW, 80, [nothing])
    edges, shares = found.edges, found.shares
    low, high = min(float(edges[0]), 1.0), max(float(edges[-1]), 1.0)
    x = _Scale(low / 1.1, high * 1.1, LEFT, NARROW - RIGHT, log=True)
    y = _Scale(0.0, float(shares.max()) * 1.05, HEIGHT - BOTTOM, TOP)
    body = _frame(x, y, figure.x_label, figure.y_label)
    for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True):
        if share > 0:
            start, top = x(float(left)), y(float(share))
            body.append(
                f'<rect class="bar" x="{start:.1f}" y="{top:.1f}" width="{max(1.0, x(float(right)) - start - 1):.1f}" '
                f'height="{y.start - top:.1f}"/>'
            )
    body.append(_line(x(1.0), TOP, x(1.0), y.start, "mark"))
    return _svg(figure, NARROW, HEIGHT, body)


def _tick_x(x: float, bottom: float, value: float) -> str:
    return _text(x, bottom + 18, ticks.label(value), "middle", "muted")


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, content: str, anchor: str = "start", css: str = "") -> str:
    named = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(content)}</text>'
