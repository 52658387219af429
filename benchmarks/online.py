"""ope-05: does `rankd replay --estimand online` say what a policy earns live, where trained_on_log does not?

Why: a policy that learns every row of a log learns from more rows, and from other actions, than it would meet live. What it then seems
to be worth is easily taken for what it would earn.

What: a world with known means writes logs by a fixed policy, uniform or with half of its decisions on one action. Each log is asked
what LinUCB would earn: online (five lives; `simulator.online`), and trained on the log (DR). The truth is its mean reward over many lives
in the same world, on other contexts, in as many rounds as the log had for it; beside it what it earns in as many rounds as the log
has rows. With alpha=0 LinUCB is greedy: live it misses what it never tries, and trained on a log it is shown all of it.

Fails (exit 1) unless, in every world, the online interval covers the truth for at least 90% of the logs, the mean of the online
estimates is within three standard errors of the truth, and the mean of trained_on_log is further off than that. How often the interval of
trained_on_log covers the truth is shown: where rewards are noisy it is wide enough to. Everything is seeded.

    python -m benchmarks.online
    python -m benchmarks.online --logs 5 --lives 40
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.reports import result, table
from policies import ModelSpec
from simulator.environments import environment_of
from simulator.environments.given import Given
from simulator.evaluation import evaluate
from simulator.life import Online, average
from simulator.logs.world import WorldLog
from simulator.online import Live, lives
from simulator.replay import replay
from simulator.reward_models import Progressive
from simulator.simulation import simulate
from simulator.specs import policy_of
from simulator.targets import TRAINED_ON_LOG, Trained

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulator.environments import Environment

GREEDY = "linucb:alpha=0"
CASES = (
    (GREEDY, "logistic:actions=5"),
    (GREEDY, "linear:actions=5,features=1,noise=2"),
    ("linucb", "neural:actions=5,noise=0.5"),
)
SKEWS = (0.0, 0.5)  # share of the log's decisions that go to one action whatever the context
ROWS = 1_500  # of a log
SALTS = tuple(b"ope-05/%d" % life for life in range(5))
COVERED, ERRORS = 0.9, 3.0  # see above


class Answers(NamedTuple):
    """What one log says."""

    online: Online
    trained: float
    ends: tuple[float, float]  # of the interval of `trained`


class Found(NamedTuple):
    """What all logs of a world say, and the truth."""

    lives: NDArray[np.float64]  # [lives, rows] mean reward of each life's first t + 1 rounds
    answers: list[Answers]

    @property
    def truth(self) -> NDArray[np.float64]:
        """For each log, what is earned live in as many rounds."""
        live = self.lives.mean(axis=0)
        return np.array([live[each.online.rounds - 1] for each in self.answers])

    @property
    def online(self) -> NDArray[np.float64]:
        return np.array([each.online.value for each in self.answers])

    @property
    def trained(self) -> NDArray[np.float64]:
        return np.array([each.trained for each in self.answers])

    def covered(self) -> tuple[float, float]:
        """Share of the logs whose interval covers the truth: online, and trained on the log."""
        pairs = list(zip(self.answers, self.truth, strict=True))
        online = [each.online.interval.covers(truth) for each, truth in pairs]
        trained = [each.ends[0] <= truth <= each.ends[1] for each, truth in pairs]
        return float(np.mean(online)), float(np.mean(trained))

    def errors_off(self, estimates: NDArray[np.float64]) -> float:
        """By how many standard errors the mean of one estimate per log is off."""
        at = round(float(np.mean([each.online.rounds for each in self.answers]))) - 1
        return float(estimates.mean() - self.truth.mean()) / _error(estimates, self.lives[:, at])


def _error(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Standard error of the difference of two means."""
    return float(np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)))


def look(policy: str, world: Environment, skew: float, logs: int, lived: int) -> Found:
    """Writes the logs, asks them, and lives in the same world."""
    stream = world.rounds(np.random.default_rng(1))  # one world: whatever comes is of it
    spec = ModelSpec(policy_of(policy), min_exploration=0.0, reward_range=world.reward_range)
    answers = []
    for number in range(logs):
        rounds = Given(world.name, world.reward_range, list(islice(stream, ROWS)))
        answers.append(ask(WorldLog(rounds, skew, number), spec))
    earned = []
    for life in range(lived):
        here = Given(world.name, world.reward_range, list(islice(stream, ROWS)))
        (run,) = simulate(here, [(policy, spec)], ROWS, life)
        earned.append(run.cumulative_reward / np.arange(1, ROWS + 1))
    return Found(np.array(earned), answers)


def ask(log: WorldLog, spec: ModelSpec) -> Answers:
    """What it says of one policy, in both ways."""
    found = lives(log, [Live("asked", spec, salt) for salt in SALTS], Progressive(spec.build()))
    told = [each for each in found if isinstance(each, Online)]
    assert len(told) == len(found), "a log was too short"
    one = replay(log, [Trained("asked", spec)], Progressive(spec.build())).replayed[0]
    valued = evaluate(one.sample, one.actions, TRAINED_ON_LOG, ["dr"], spec.reward_range)
    dr = valued.estimators["dr"]
    assert dr.value is not None
    assert dr.low is not None
    assert dr.high is not None
    return Answers(average(told, 0.05), dr.value, (dr.low, dr.high))


def main() -> int:
    parser = argparse.ArgumentParser(description="ope-05: online against trained_on_log.")
    parser.add_argument("--logs", type=int, default=40, help="of each world")
    parser.add_argument("--lives", type=int, default=200, help="for the truth")
    args = parser.parse_args()
    rows, figures = [], []
    bars: dict[str, bool] = {}
    for (policy, spec), skew in product(CASES, SKEWS):
        found = look(policy, environment_of(spec), skew, args.logs, args.lives)
        covers, wrong = found.covered()
        method = found.answers[0].online.method
        name = f"{policy}, {spec.partition(':')[0]}, {method}"
        told = {
            "rounds": float(np.mean([each.online.rounds for each in found.answers])),
            "truth": float(found.truth.mean()),
            "online": float(found.online.mean()),
            "online_covers": covers,
            "trained_on_log": float(found.trained.mean()),
            "trained_covers": wrong,
            "live_rows": float(found.lives[:, -1].mean()),
        }
        figures.append({"policy": policy, "world": spec, "skew": skew, "method": method, **told})
        numbers = [f"{told[each]:.3f}" for each in ("truth", "online", "trained_on_log", "live_rows")]  # fmt: skip
        truth, online, trained, live = numbers
        rows.append((name, f"{told['rounds']:.0f}", truth, online, f"{covers:.0%}", trained, f"{wrong:.0%}", live))  # fmt: skip
        bars[f"{name}: online covers the truth in {COVERED:.0%} of the logs"] = covers >= COVERED
        off, trained_off = (abs(found.errors_off(each)) for each in (found.online, found.trained))
        bars[f"{name}: online is within {ERRORS:g} standard errors of the truth"] = off <= ERRORS
        bars[f"{name}: trained_on_log is further off"] = trained_off > ERRORS
    print(f"{args.logs} logs of {ROWS:,} rows each; truth over {args.lives} lives\n")
    heads = ("policy, world, by", "rounds", "live", "online", "covers", "trained_on_log", "covers", f"live, {ROWS:,} rounds")  # fmt: skip
    table(heads, rows)
    return result("ope-05", bars, logs=args.logs, lives=args.lives, rows=ROWS, worlds=figures)


if __name__ == "__main__":
    sys.exit(main())
