"""The percentile bootstrap. Efron (1979), "Bootstrap Methods: Another Look at the Jackknife"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.intervals.interval import (
    ConfidenceInterval,
    Evidence,
    check_alpha,
    check_independent,
    check_rows,
)
from simulator.ips import NotIdentifiable

if TYPE_CHECKING:
    from simulator.sample import Column

# Redrawn logs. The ends of a 95 % interval are then the 25th value from either side: they wobble by about 4 % of the
# half width, which is less than what n rows leave unknown.
_LOGS = 1000
# A draw of counts costs about 20 times a draw of a row.
_WORTH = 20


def bootstrap(evidence: Evidence, alpha: float = 0.05) -> ConfidenceInterval:
    """The middle 1 - alpha of the means of 1,000 logs, each of n rows redrawn with replacement from the log's own.
    Rows of few different values, as clicks give, are redrawn by how often each value comes: the same law, at no cost.

    Assumes that rows are independent and of one law. Costs 1,000 n draws where values are many: about 10 s for a million rows.

    Fails where the normal interval fails, for the same reason: what was not met cannot be redrawn. It only follows
    skewness a little better. It is refused for a path of learning: redrawn in another order, or with a row twice, the
    policy would have learned something else, so that the redrawn logs are none that could have come.

    >>> evidence = Evidence(np.array([0.0, 1.0] * 50), generator=np.random.default_rng(1))
    >>> interval = bootstrap(evidence)
    >>> round(interval.low, 1), round(interval.high, 1)
    (0.4, 0.6)

    Raises:
        NotIdentifiable: rows share decisions; fewer than 2 rows, or the rows are a path of learning.
        ValueError: alpha is not in (0, 1), or no generator was given.
    """
    check_alpha(alpha)
    if evidence.adaptive:
        raise NotIdentifiable(
            "the rows are a path of learning: redrawn rows would have taught something else, so the bootstrap "
            "does not apply; take normal; for a policy that stays as it is, martingale"
        )
    if evidence.generator is None:
        raise ValueError("the bootstrap draws: it needs a generator")
    rows = evidence.rows
    check_independent(evidence, "bootstrap")
    check_rows(rows, 2)
    means = _means(rows, evidence.generator)
    low, high = np.quantile(means, (alpha / 2, 1 - alpha / 2))
    return ConfidenceInterval(float(low), float(high), alpha, "percentile bootstrap")


def _means(rows: Column, generator: np.random.Generator) -> Column:
    """The mean of each redrawn log, [1,000]."""
    n = len(rows)
    values, counts = np.unique(rows, return_counts=True)
    if len(values) * _WORTH < n:
        redrawn: Column = generator.multinomial(n, counts / n, _LOGS) @ values / n
        return redrawn
    # One log at a time: n numbers of memory, not 1,000 n.
    return np.array([rows[generator.integers(0, n, n)].mean() for _ in range(_LOGS)])
