"""From a sample's rows to the few points of a curve: numpy alone, and nothing of how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from simulator.decisions import sums
from simulator.estimators.estimator import standard_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from simulator.sample import Sample

    Column = NDArray[np.float64]

MOST_POINTS = 400  # of a curve: more than a figure has pixels for
BINS = 30
CLIPS = 24


@dataclass(frozen=True, slots=True)
class Curve:
    """A line with a band, [points] each. NaN where there is none."""

    x: Column
    y: Column
    low: Column
    high: Column


@dataclass(frozen=True, slots=True)
class Histogram:
    """Shares of rows by weight, on a log scale."""

    edges: Column
    """[bins + 1], ascending and above 0; empty if all weights are 0."""
    shares: Column
    """[bins], of all rows: they add up to 1 - zero."""
    zero: float
    """The share of rows with weight 0, which a log scale has no place for."""


@dataclass(frozen=True, slots=True)
class Clipping:
    """What clipped IPS says at each clip, [clips] each."""

    clip: Column
    """Ascending. The last is the greatest weight: plain IPS."""
    value: Column
    half_width: Column
    """Of a normal interval."""
    clipped: Column
    """The share of rows whose weight is above the clip."""


def points(n: int, most: int = MOST_POINTS) -> NDArray[np.intp]:
    """Which of n rows to draw: evenly spaced, first and last among them, `most` at most.

    >>> points(5, 3).tolist(), points(2, 3).tolist()
    ([0, 2, 4], [0, 1])
    """
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.intp))


def quantile(alpha: float) -> float:
    """How many standard errors a two-sided normal interval reaches.

    >>> round(quantile(0.05), 2)
    1.96
    """
    return NormalDist().inv_cdf(1 - alpha / 2)


def running_mean(
    rows: Column,
    alpha: float,
    most: int = MOST_POINTS,
    decision: NDArray[np.intp] | None = None,
) -> Curve:
    """The mean of the rows so far, with a normal band for each point alone; the first row has no band.

    Args:
        decision: as `Sample.decision`; points are then at the ends of decisions, and the band is that of sums within them.

    >>> curve = running_mean(np.array([1.0, 0.0, 2.0]), 0.05)
    >>> curve.x.tolist(), curve.y.tolist()
    ([1.0, 2.0, 3.0], [1.0, 0.5, 1.0])
    """
    if decision is not None:
        return _over_decisions(rows, decision, alpha, most)
    t = np.arange(1.0, len(rows) + 1)
    mean = np.cumsum(rows) / t
    off = rows - rows.mean()  # squares of small numbers: sums stay exact enough
    square = np.maximum(np.cumsum(off * off) - np.cumsum(off) ** 2 / t, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # one row has no spread
        reach = quantile(alpha) * np.sqrt(square / (t - 1) / t)
    at = points(len(rows), most)
    return Curve(t[at], mean[at], (mean - reach)[at], (mean + reach)[at])


def _over_decisions(rows: Column, decision: NDArray[np.intp], alpha: float, most: int) -> Curve:
    """The standard error of `simulator.decisions`, of all decisions so far."""
    deviations, counts = sums(rows, decision)
    g, t = np.arange(1.0, len(counts) + 1), np.cumsum(counts).astype(np.float64)
    so_far = np.cumsum(deviations) / t  # the mean so far, less that of all rows
    # sum of (deviation - count so_far)^2, whose parts are running sums.
    square = np.cumsum(deviations**2) - 2 * so_far * np.cumsum(deviations * counts)
    square = np.maximum(square + so_far**2 * np.cumsum(counts**2), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # one decision has no spread
        reach = quantile(alpha) * np.sqrt(g / (g - 1) * square) / t
    at, mean = points(len(g), most), rows.mean() + so_far
    return Curve(t[at], mean[at], (mean - reach)[at], (mean + reach)[at])


def with_band(rows: Column, low: Column, high: Column, most: int = MOST_POINTS) -> Curve:
    """The mean of the rows so far, with a band that is known for every row."""
    t = np.arange(1.0, len(rows) + 1)
    at = points(len(rows), most)
    return Curve(t[at], (np.cumsum(rows) / t)[at], low[at], high[at])


def histogram(weight: Column, bins: int = BINS) -> Histogram:
    """Bins of equal ratio from the smallest weight above 0 to the greatest.

    >>> found = histogram(np.array([0.0, 1.0, 10.0, 100.0]), bins=2)
    >>> found.zero, found.shares.tolist(), found.edges.round().tolist()
    (0.25, [0.25, 0.5], [1.0, 10.0, 100.0])
    """
    positive = weight[weight > 0]
    n = len(weight)
    if not len(positive):
        return Histogram(np.empty(0), np.empty(0), 1.0)
    least, most = float(positive.min()), float(positive.max())
    if most < 1.05 * least:  # one weight, or as good as one: one bin around it
        edges = np.array([least / 1.1, most * 1.1])
    else:
        edges = np.geomspace(least, most, bins + 1)
        edges[0], edges[-1] = least, most  # rounding must not leave the ends out
    counts, _ = np.histogram(positive, edges)
    return Histogram(edges, counts / n, 1 - len(positive) / n)


def clipping(sample: Sample, alpha: float, clips: int = CLIPS) -> Clipping:
    """Clipped IPS at clips of equal ratio from 1 to the greatest weight; at that one alone if it is 1 at most.

    >>> from simulator.sample import Sample
    >>> found = clipping(Sample.of(reward=[1, 0], mu=[0.25, 0.5], pi=[1.0, 0.5]), 0.05, clips=3)
    >>> found.clip.tolist(), found.value.tolist(), found.clipped.tolist()
    ([1.0, 2.0, 4.0], [0.5, 1.0, 2.0], [0.5, 0.5, 0.0])
    """
    weight = sample.weight
    most = float(weight.max())
    grid = np.geomspace(1.0, most, clips) if most > 1 else np.array([most])
    grid[-1] = most
    rows = [np.minimum(weight, clip) * sample.reward for clip in grid]
    half = [quantile(alpha) * standard_error(row, sample.decision) for row in rows]
    return Clipping(
        grid,
        np.array([row.mean() for row in rows]),
        np.array(half),
        np.array([(weight > clip).mean() for clip in grid]),
    )


def view(found: Sequence[Curve]) -> tuple[float, float]:
    """The range of y to draw: all of the lines but their first tenth, and the bands' later half, so that the noise
    of the first rows does not flatten the rest.

    >>> flat = Curve(np.array([1.0, 2.0]), np.array([0.0, 1.0]), np.array([-9.0, 0.5]), np.array([9.0, 1.5]))
    >>> view([flat])
    (0.0, 1.5)
    """
    low, high = inf, -inf
    for curve in found:
        n = len(curve.x)
        parts = [curve.y[n // 10 :], curve.low[n // 2 :], curve.high[n // 2 :]]
        for part in parts:
            finite = part[np.isfinite(part)]
            if len(finite):
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (0.0, 1.0)
