"""Round numbers for an axis."""

from __future__ import annotations

from math import ceil, floor, log10


def linear(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, within the range.

    >>> linear(0.0, 1.0), linear(-30.0, 95.0)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [-25.0, 0.0, 25.0, 50.0, 75.0])
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** floor(log10(rough))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - rough))
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(k * step, 12 - floor(log10(step))) for k in range(first, last + 1)]


def log(low: float, high: float) -> list[float]:
    """Powers of ten; in short ranges 2 and 5 times those, too, and in shorter ones the ends.

    >>> log(0.5, 2000.0), log(1.0, 8.0), log(1.01, 1.2)
    ([1.0, 10.0, 100.0, 1000.0], [1.0, 2.0, 5.0], [1.01, 1.2])
    """
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    every = max(1, len(decades) // 7)
    if log10(high / low) >= 1.5:
        found = [10.0**k for k in decades if k % every == 0]
    else:
        found = [m * 10.0**k for k in decades for m in (1, 2, 5)]
    inside = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return inside if len(inside) > 1 else [low, high]


def label(value: float) -> str:
    """A tick's label.

    >>> label(0.25), label(2000.0), label(1e-7), label(-0.0)
    ('0.25', '2,000', '1e-07', '0')
    """
    if value == 0:
        return "0"
    if 1000 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.4g}"
