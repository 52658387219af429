"""Running sums over learned interactions: enough for the status page to value baseline and greedy choice by IPS.

For a target policy pi, w = pi(chosen) / propensity. The sums are those that an empirical-likelihood interval needs
(Karampatziakis, Langford & Mineiro 2020), so that no row has to be kept.
"""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.fold.shapes import Facts

# What the sums are kept of: "baseline" always plays the first eligible action, "greedy" the most probable one.
TARGETS = ("baseline", "greedy")
_SUMS = ("w", "ww", "wr", "wwr", "wwrr")
_NAMES = {target: [f"{target}.{name}" for name in _SUMS] for target in TARGETS}


class Report:
    """Sums over the first slot of every learned decision."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {"n": 0.0, "r": 0.0, "rr": 0.0, "agreed": 0.0}
        self.sums |= {"r_min": 0.0, "r_max": 0.0}  # sums of rewards may leave the app's range
        for target in TARGETS:
            self.sums.update({f"{target}.{name}": 0.0 for name in _SUMS})
            self.sums[f"{target}.w_max"] = 0.0  # the largest weight that could have been drawn

    def add(self, facts: Facts, reward: float) -> None:
        """One decision with its first slot's final reward."""
        s = self.sums
        pmf, chosen, baseline = facts.pmf, facts.chosen, facts.baseline
        if reward < s["r_min"]:
            s["r_min"] = reward
        if reward > s["r_max"]:
            s["r_max"] = reward
        s["n"] += 1
        s["r"] += reward
        s["rr"] += reward * reward
        s["agreed"] += facts.preferred == baseline
        own, most = pmf[chosen], max(pmf)
        if chosen == baseline:  # else w is 0
            self._weigh("baseline", 1 / own, reward)
        if own == most:
            self._weigh("greedy", 1 / pmf.count(most) / own, reward)
        # Infinite where the target plays what could not be drawn.
        w_max = 1 / pmf[baseline] if pmf[baseline] > 0 else inf
        if w_max > s["baseline.w_max"]:
            s["baseline.w_max"] = w_max
        w_max = 1 / pmf.count(most) / most if most > 0 else inf
        if w_max > s["greedy.w_max"]:
            s["greedy.w_max"] = w_max

    def _weigh(self, target: str, w: float, reward: float) -> None:
        s, (w1, w2, w1r, w2r, w2r2) = self.sums, _NAMES[target]
        s[w1] += w
        s[w2] += w * w
        s[w1r] += w * reward
        s[w2r] += w * w * reward
        s[w2r2] += w * w * reward * reward

    def dump(self) -> str:
        return json.dumps(self.sums, sort_keys=True)

    @classmethod
    def load(cls, text: str) -> Report:
        self = cls()
        self.sums.update(json.loads(text or "{}"))
        return self
