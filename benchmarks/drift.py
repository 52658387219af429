"""drift-01: what does a detector save where the world changes, and what does it cost where it does not?

Why: a policy that never forgets goes on playing what was best once. A detector that cries wolf throws away what was learned.

What: 10,000 rounds, 20 actions, a context of 32 independent standard normals. An action earns theta' x and noise of standard deviation 0.5;
theta is normal, so wide that playing at random loses about 17,000. In the changing job all of theta is drawn anew every 2,000 rounds; in the
steady one never. LinUCB with its defaults and no floor, once without a detector, once with each, which restarts it. Rewards
are within -5 .. 5, which is the app's reward range. Figures: regret as a share of that without a detector (changing: 0.55 at most, steady:
1.10 at most); rounds from a change to its first detection; changes not noticed before the next; detections that no change explains.

    python -m benchmarks.drift
    python -m benchmarks.drift --seeds 3 --detectors '{"adwin": {"detector": "adwin", "on": "residual"}}'
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from policies import ActionSet, Features, Interaction, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS, CHANGE = 10_000, 2_000
ACTIONS, DIMENSIONS = 20, 32
NOISE, THETA = 0.5, 0.1615  # standard deviations
RANGE = (-5.0, 5.0)
DETECTORS: dict[str, dict[str, Any]] = {
    "adwin on residuals": {"detector": "adwin", "on": "residual"},
    "adwin on rewards": {"detector": "adwin", "on": "reward"},
}
IDS = ActionSet(
    tuple(f"{k:02}" for k in range(ACTIONS)),
    np.zeros(ACTIONS + 1, np.intp),
    Features(np.empty(0, np.uint64), np.empty(0), np.empty(0, np.uint8), np.empty(0, np.bool_)),
)
INDEX = np.arange(1, DIMENSIONS + 1, dtype=np.uint64)
INDEX.flags.writeable = False  # a layout that comes again, as in a service
SPACE, NUMERIC = np.full(DIMENSIONS, ord("c"), np.uint8), np.zeros(DIMENSIONS, np.bool_)


@dataclass
class Run:
    """What came of one seed."""

    regret: float = 0.0
    chance: float = 0.0  # what playing at random would have lost
    detections: list[int] = field(default_factory=list)  # rounds


def run(drift: Mapping[str, Any] | None, seed: int, changes: bool) -> Run:
    random = np.random.default_rng(seed)
    if drift is not None:
        drift = {**drift, "action": "restart"}
    model = ModelSpec({"type": "linucb"}, False, 0.0, RANGE, drift).build()
    result = Run()
    theta = random.normal(0.0, THETA, (ACTIONS, DIMENSIONS))
    for t in range(ROUNDS):
        if changes and t and t % CHANGE == 0:
            theta = random.normal(0.0, THETA, (ACTIONS, DIMENSIONS))
        x, noise = random.normal(size=DIMENSIONS), random.normal(0.0, NOISE)
        context = Features(INDEX, x, SPACE, NUMERIC)
        scored = model.pmf(context, IDS, 0)
        chosen, earns = int(scored.pmf.argmax()), theta @ x
        result.regret += float(earns.max() - earns[chosen])
        result.chance += float(earns.max() - earns.mean())
        reward = min(max(float(earns[chosen] + noise), RANGE[0]), RANGE[1])
        found = model.drift.detections if model.drift else 0
        model.learn([Interaction(context, IDS, chosen, scored.pmf, reward)])
        if model.drift and model.drift.detections > found:
            result.detections.append(t)
    return result


def delays(result: Run) -> tuple[list[int], int]:
    """(rounds from each change that was noticed to its first detection, detections that no change explains)."""
    found = []
    for start in range(CHANGE, ROUNDS, CHANGE):
        since = [t - start for t in result.detections if start <= t < start + CHANGE]
        found += since[:1]
    return found, len(result.detections) - len(found)


def figures(changing: list[Run], steady: list[Run], base: list[list[Run]]) -> dict[str, Any]:
    noticed = [delays(result) for result in changing]
    late = [delay for found, _ in noticed for delay in found]
    return {
        "changing": round(mean(r.regret for r in changing) / mean(r.regret for r in base[0]), 3),
        "steady": round(mean(r.regret for r in steady) / mean(r.regret for r in base[1]), 3),
        "delay_median": median(late) if late else None,
        "delay_max": max(late, default=None),
        "missed": len(changing) * (ROUNDS // CHANGE - 1) - len(late),
        "unexplained": sum(extra for _, extra in noticed) + sum(len(r.detections) for r in steady),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--detectors", type=json.loads, default=DETECTORS)
    options = parser.parse_args()
    seeds = range(options.seeds)
    base = [[run(None, seed, changes) for seed in seeds] for changes in (True, False)]
    result = {
        "id": "drift-01",
        "seeds": options.seeds,
        "random": round(mean(r.chance for r in base[0])),
        "regret_changing": round(mean(r.regret for r in base[0])),
        "regret_steady": round(mean(r.regret for r in base[1])),
    }
    for name, drift in options.detectors.items():
        found = [[run(drift, seed, changes) for seed in seeds] for changes in (True, False)]
        result[name] = figures(found[0], found[1], base)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
