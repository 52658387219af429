"""Curves in a terminal: Unicode's braille patterns give each character two by four dots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLANK = 0x2800
# The bit of the dot in each row (from the top) and column of a character.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_MARGIN = 5  # characters left of the plot: "1.0 ┤"


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: values[i] in [0, 1] at x = i."""

    name: str
    style: str
    values: Sequence[float]
    dotted: bool = False


def moving_mean(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and those before it, `window` at most.

    >>> moving_mean([1.0, 0.0, 0.0], 2)
    [1.0, 0.5, 0.0]
    """
    means, total = [], 0.0
    for i, value in enumerate(values):
        total += value - (values[i - window] if i >= window else 0.0)
        means.append(total / min(i + 1, window))
    return means


def chart(series: Sequence[Series], total: int, width: int, height: int) -> Text:
    """The curves over x from 0 to `total`, in width x height characters, with a legend below. Later ones lie on top."""
    columns, rows = 2 * max(2, width - _MARGIN), 4 * height
    cells: dict[tuple[int, int], tuple[int, str]] = {}  # (row, column) -> (dots, style)
    for curve in series:
        before: int | None = None
        for x in range(columns):
            i = round(x / (columns - 1) * (total - 1))
            if i >= len(curve.values):
                break
            y = round((1.0 - curve.values[i]) * (rows - 1))
            start = y if before is None else before
            if not curve.dotted or x % 4 == 0:
                # All that lies between this height and the one before, so that a steep curve has no gaps.
                for dot in range(min(start, y), max(start, y) + 1):
                    at = dot // 4, x // 2
                    bits = cells.get(at, (0, ""))[0] | _DOTS[dot % 4][x % 2]
                    cells[at] = bits, curve.style
            before = y
    text = Text()
    for row in range(height):
        text.append(_axis(row, height), "dim")
        for column in range(columns // 2):
            bits, style = cells.get((row, column), (0, ""))
            text.append(chr(_BLANK + bits) if bits else " ", style)
        text.append("\n")
    text.append(f"    └{'─' * (columns // 2)}\n", "dim")
    text.append("     1" + f"{total:,}".rjust(columns // 2 - 1) + "\n", "dim")
    text.append("     ")
    for curve in reversed(series):
        text.append("⠒⠒ ", curve.style)
        now = f" {curve.values[-1]:.3f}" if curve.values else ""
        text.append(f"{curve.name}{now}   ")
    return text


def _axis(row: int, height: int) -> str:
    if row == 0:
        return "1.0 ┤"
    if row == height // 2:
        return " .5 ┤"
    return "  0 ┤" if row == height - 1 else "    │"
