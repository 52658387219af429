"""Running sums over learned interactions: enough for the status page to value baseline and greedy choice by IPS.

For a target policy pi, w = pi(chosen) / propensity. The sums are those that an empirical-likelihood interval needs
(Karampatziakis, Langford & Mineiro 2020), so that no row has to be kept.
"""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rankd.v1 import log_pb2 as pb

# What the sums are kept of: "baseline" always plays the first eligible action, "greedy" the most probable one.
TARGETS = ("baseline", "greedy")
_SUMS = ("w", "ww", "wr", "wwr", "wwrr")
_NAMES = [[f"{target}.{name}" for name in (*_SUMS, "w_max")] for target in TARGETS]


class Report:
    """Sums over the first slot of every learned decision."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {"n": 0.0, "r": 0.0, "rr": 0.0, "agreed": 0.0}
        self.sums |= {"r_min": 0.0, "r_max": 0.0}  # sums of rewards may leave the app's range
        for target in TARGETS:
            self.sums.update({f"{target}.{name}": 0.0 for name in _SUMS})
            self.sums[f"{target}.w_max"] = 0.0  # the largest weight that could have been drawn

    def add(self, decision: pb.Decision, reward: float) -> None:
        """One decision with its first slot's final reward."""
        s = self.sums
        pmf = list(decision.pmf)
        chosen = decision.ranking[0]
        baseline = _first_eligible(decision)
        most = max(pmf)
        best = [k for k, p in enumerate(pmf) if p == most]
        s["r_min"] = min(s["r_min"], reward)
        s["r_max"] = max(s["r_max"], reward)
        s["n"] += 1
        s["r"] += reward
        s["rr"] += reward * reward
        s["agreed"] += decision.preferred == baseline
        for (w1, w2, w1r, w2r, w2r2, greatest), played in zip(
            _NAMES, ([baseline], best), strict=True
        ):
            if chosen in played:  # else w is 0
                w = 1 / len(played) / pmf[chosen]
                s[w1] += w
                s[w2] += w * w
                s[w1r] += w * reward
                s[w2r] += w * w * reward
                s[w2r2] += w * w * reward * reward
            # Infinite where the target plays what could not be drawn.
            least = min([pmf[k] for k in played])
            w_max = 1 / len(played) / least if least > 0 else inf
            s[greatest] = max(s[greatest], w_max)

    def dump(self) -> str:
        return json.dumps(self.sums, sort_keys=True)

    @classmethod
    def load(cls, text: str) -> Report:
        self = cls()
        self.sums.update(json.loads(text or "{}"))
        return self


def _first_eligible(decision: pb.Decision) -> int:
    if not decision.excluded_ids:
        return 0
    excluded = set(decision.excluded_ids)
    return next(k for k, name in enumerate(decision.action_ids) if name not in excluded)
