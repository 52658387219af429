"""Latencies in buckets whose width grows with the value, after Gil Tene's HdrHistogram: small, quick, and additive.

Whole microseconds below 256 have a bucket each; above, each power of two is cut into 128. So a percentile is exact below 256 us
and less than 1/128 too high above, and histograms of several processes add up to that of them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BITS = 7  # of precision
_EXACT = 2 << _BITS  # microseconds


def bucket(us: int) -> int:
    """The number of the bucket that such a latency falls into; greater ones have greater numbers.

    >>> [bucket(us) for us in (0, 255, 256, 257, 258)]
    [0, 255, 256, 256, 257]
    """
    shift = max(0, us.bit_length() - _BITS - 1)
    return (shift << _BITS) + (us >> shift)


def highest(number: int) -> int:
    """The greatest latency in a bucket, microseconds.

    >>> [highest(number) for number in (0, 255, 256, 257)]
    [0, 255, 257, 259]
    """
    shift = max(0, (number >> _BITS) - 1)
    return ((number - (shift << _BITS) + 1) << shift) - 1


@dataclass
class Histogram:
    """Counts of latencies, microseconds."""

    counts: dict[int, int] = field(default_factory=dict)  # bucket -> how many
    total: int = 0
    sum: int = 0  # of them all: the mean is exact
    max: int = 0  # exact, too

    def record(self, us: int) -> None:
        """Takes one latency in. Below zero counts as zero."""
        us = max(0, us)
        number = bucket(us)
        self.counts[number] = self.counts.get(number, 0) + 1
        self.total += 1
        self.sum += us
        self.max = max(self.max, us)

    def add(self, other: Histogram) -> None:
        """Takes in all that another one has."""
        for number, count in other.counts.items():
            self.counts[number] = self.counts.get(number, 0) + count
        self.total += other.total
        self.sum += other.sum
        self.max = max(self.max, other.max)

    def percentile(self, q: float) -> int:
        """The least latency that at least q percent of all do not exceed, microseconds; 0 where there are none.

        >>> few = Histogram()
        >>> for us in (30, 10, 20, 40): few.record(us)
        >>> few.percentile(50), few.percentile(51), few.percentile(100)
        (20, 30, 40)
        """
        return self.percentiles([q])[0]

    def percentiles(self, asked: list[float]) -> list[int]:
        """Several at once, in the order asked."""
        found = dict.fromkeys(asked, 0)
        waiting = sorted(found)
        at = 0
        for us, count in self:
            at += count
            while waiting and at >= ceil(self.total * waiting[0] / 100):
                found[waiting.pop(0)] = us
        return [found[q] for q in asked]

    @property
    def mean(self) -> float:
        """Microseconds; 0 where there are none."""
        return self.sum / self.total if self.total else 0.0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(greatest latency, how many) of each bucket that has any, rising."""
        for number in sorted(self.counts):
            yield min(highest(number), self.max), self.counts[number]
