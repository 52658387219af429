"""Estimators, the confidence sequence and replays of every make, timed by themselves: ours, obp's, vw-estimators', mabwiser's.

    python -m benchmarks.ope_players PLAYER TASK INPUT.npz

Run by `benchmarks.ope_speed` in the virtual environment of the player's library, which has numpy, the library and nothing of ours: so everything
else is imported where it is used. Prints one object of JSON. Seconds are processor seconds of this process, the least of
several repetitions, as other load can only add.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.players import stand_in_for_torch

if TYPE_CHECKING:
    from collections.abc import Callable

Arrays = dict[str, np.ndarray[Any, Any]]
Answer = dict[str, Any]

REPETITIONS = 40  # of calls that take milliseconds
WARM_UP = 100  # rows that a policy learns before a replay begins: no two actions are unknown then, and tie


def timed(call: Callable[[], Any], repetitions: int = REPETITIONS) -> Answer:
    """{"seconds", "value"} of one call."""
    least, value = float("inf"), None
    for _ in range(repetitions):
        begun = time.process_time()
        value = call()
        least = min(least, time.process_time() - begun)
    return {"seconds": least, "value": value}


def rankd_estimators(job: Arrays) -> Answer:
    """From arrays to the value: checked, weighted, averaged."""
    from simulator.estimators import create
    from simulator.sample import Sample

    reward, action, pi, mu, q = (job[name] for name in ("reward", "action", "pi", "mu", "q"))

    def value(name: str) -> float:
        sample = Sample.of_pmfs(reward, action, pi, mu, q if name == "dr" else None)
        return create(name).value(sample)

    return {name: timed(lambda name=name: value(name)) for name in ("ips", "snips", "dr")}  # type: ignore[misc]


def obp_estimators(job: Arrays) -> Answer:
    """`estimate_policy_value`, which checks its arguments, too."""
    with stand_in_for_torch():
        from obp.ope import (
            DoublyRobust,
            InverseProbabilityWeighting,
            SelfNormalizedInverseProbabilityWeighting,
        )

    given = {
        "reward": job["reward"],
        "action": job["action"],
        "pscore": job["mu"],
        "action_dist": job["pi"][:, :, None],
        "estimated_rewards_by_reg_model": job["q"][:, :, None],
    }
    makers = {
        "ips": InverseProbabilityWeighting,
        "snips": SelfNormalizedInverseProbabilityWeighting,
        "dr": DoublyRobust,
    }
    return {
        name: timed(lambda make=make: float(make().estimate_policy_value(**given)))  # type: ignore[misc]
        for name, make in makers.items()
    }


def rankd_sequence(job: Arrays) -> Answer:
    """Both ends after every row; the answer has those after the last."""
    from simulator.intervals import sequence

    def ends() -> list[float]:
        found = sequence(job["pi"] / job["mu"], job["reward"], (0.0, 1.0))
        return [float(found.low[-1]), float(found.high[-1])]

    return timed(ends, 10)


def vw_sequence(job: Arrays) -> Answer:
    """Both ends after the last row."""
    from estimators.bandits.cs import Interval

    rows = list(zip(job["mu"].tolist(), job["reward"].tolist(), job["pi"].tolist(), strict=True))

    def ends() -> list[float]:
        interval = Interval(0, 1)
        for mu, reward, pi in rows:
            interval.add_example(mu, reward, pi)
        return [float(end) for end in interval.get(0.05)]

    return timed(ends, 2)


def rankd_replay(job: Arrays, method: str) -> Answer:
    """Rows of a log of arrays, after the first ones: which are matches, and how long it takes."""
    from policies import ModelSpec
    from simulator.logs import ArraysLog, Matured
    from simulator.online import Live, online
    from simulator.replay import replay

    class Matches(Live):
        """Notes which rows it learns; by rejection those that it would have made itself."""

        rows: list[int]

        def learn(self, matured: Matured) -> None:
            self.rows.append(WARM_UP + int(matured.decision.key))
            super().learn(matured)

    policy, limits = {"type": "linucb", "alpha": 1.0, "ridge": 1.0}, (-10.0, 10.0)
    spec = ModelSpec(policy, standardise=False, min_exploration=0.0, reward_range=limits)
    actions = int(job["actions"])

    def log(rows: slice) -> ArraysLog:
        feedback: dict[str, object] = {
            name: job[name][rows] for name in ("context", "action", "reward")
        }
        pscore = np.full(len(job["action"][rows]), 1 / actions)
        return ArraysLog({**feedback, "pscore": pscore, "n_actions": actions})

    def run() -> list[int]:
        target = Matches("linucb", spec)
        target.rows = []
        for event in log(slice(0, WARM_UP)):
            if isinstance(event, Matured):
                target.learn(event)
        target.rows.clear()
        rest = log(slice(WARM_UP, None))
        if method == "rejection":
            online(rest, target)
            return target.rows
        pi = replay(rest, [target]).replayed[0].sample.pi
        return [WARM_UP + int(t) for t in np.flatnonzero(pi > 0.5)]

    return timed(run, 3)


def mabwiser_replay(job: Arrays, method: str) -> Answer:
    """The library's Simulator, one row a batch; or, for rejection, which it does not have, its policy asked row by row."""
    import logging

    from mabwiser.mab import MAB, LearningPolicy
    from mabwiser.simulator import Simulator

    # Ours learns a constant, too.
    x = np.column_stack((np.ones(len(job["action"])), job["context"]))
    action, reward, n = job["action"], job["reward"], len(job["action"])
    arms = list(range(int(job["actions"])))

    def simulated() -> list[int]:
        bandit = MAB(arms, LearningPolicy.LinUCB(alpha=1.0, l2_lambda=1.0))
        simulator = Simulator(
            [("linucb", bandit)], action, reward, x, None, 1 - WARM_UP / n, True, 1, is_quick=True
        )
        logging.getLogger().setLevel(logging.CRITICAL)  # it says something for each row
        simulator.run()
        played = np.array(simulator.bandit_to_predictions["linucb"])
        return [WARM_UP + int(t) for t in np.flatnonzero(played == action[WARM_UP:])]

    def rejected() -> list[int]:
        bandit = MAB(arms, LearningPolicy.LinUCB(alpha=1.0, l2_lambda=1.0))
        bandit.fit(action[:WARM_UP], reward[:WARM_UP], x[:WARM_UP])
        rows = []
        for t in range(WARM_UP, n):
            row = slice(t, t + 1)
            if bandit.predict(x[row]) == action[t]:
                bandit.partial_fit(action[row], reward[row], x[row])
                rows.append(t)
        return rows

    return timed(simulated if method == "all" else rejected, 1)


TASKS: dict[tuple[str, str], Callable[[Arrays], Answer]] = {
    ("rankd", "estimators"): rankd_estimators,
    ("obp", "estimators"): obp_estimators,
    ("rankd", "sequence"): rankd_sequence,
    ("vw-estimators", "sequence"): vw_sequence,
    ("rankd", "replay all"): lambda job: rankd_replay(job, "all"),
    ("mabwiser", "replay all"): lambda job: mabwiser_replay(job, "all"),
    ("rankd", "replay rejection"): lambda job: rankd_replay(job, "rejection"),
    ("mabwiser", "replay rejection"): lambda job: mabwiser_replay(job, "rejection"),
}


def main() -> None:
    """Does one task."""
    player, task, path = sys.argv[1:]
    warnings.simplefilter("ignore")
    with np.load(path) as job:
        answer = TASKS[player, task](dict(job))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
