"""How long until a reward shows: from its ack to the first decision by a model that has learned it."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankd.demo.stream import Round


def reward_to_model(rounds: Sequence[Round]) -> list[float]:
    """Milliseconds from each Reward's ack to the first Rank reply whose model_version is at or past its place.

    A reward that no reply has covered yet counts with the time until the last reply, which is too little; so a learner that
    has stopped shows as a lag that grows, and is not left out. Replies are as far apart as rounds are (17 ms at 60
    a second), and so is what this can tell apart.
    """
    replies = sorted((done.replied, done.model_version) for done in rounds)
    newest = list(accumulate((version for _, version in replies), max))
    lags = []
    for done in rounds:
        first = min(bisect_left(newest, done.sequence), len(replies) - 1)
        lags.append(1000 * max(0.0, replies[first][0] - done.acked))
    return lags


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` percent of all do not exceed (nearest rank).

    >>> percentile([3.0, 1.0, 2.0, 4.0], 50)
    2.0
    """
    return float(np.percentile(values, share, method="inverted_cdf"))
