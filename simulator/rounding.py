"""How far logged probabilities may be off because somebody rounded them, for all formats."""

from __future__ import annotations

# Logs round to float32, most that round further to four digits: each number is then off by half a unit of the last one.
_DIGIT = 5e-5
# Of a sum or a number, whatever it is made of: some systems renormalise what they have rounded, and round again.
_LEAST = 1e-3
# However many actions: what sums to less than half is no pmf any more, and could be nothing at all.
_MOST = 0.5


def tolerance(count: int) -> float:
    """By how much the sum of `count` probabilities may differ from 1: rounded to four digits, 60 equal ones sum to 1.002.

    >>> tolerance(2), tolerance(60), tolerance(1_000_000)
    (0.001, 0.003, 0.5)
    """
    return min(max(_LEAST, count * _DIGIT), _MOST)
