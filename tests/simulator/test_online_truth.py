"""What is earned live, in worlds whose truth is known: "online" agrees with it, "trained_on_log" does not."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest

from policies import ModelSpec
from simulator.environments import environment_of
from simulator.environments.given import Given
from simulator.evaluation import evaluate
from simulator.life import Online, average
from simulator.logs import Decided, Matured
from simulator.logs.world import WorldLog
from simulator.online import Live, lives
from simulator.replay import replay
from simulator.reward_models import Progressive
from simulator.simulation import simulate
from simulator.targets import TRAINED_ON_LOG, Trained

ROWS, LOGS, LIVES = 1_500, 8, 30
SALTS = [b"%d" % life for life in range(3)]


@pytest.mark.parametrize("skew", [0.0, 0.5])
def test_online_agrees_with_the_truth_and_trained_on_log_does_not(skew: float) -> None:
    """Of a greedy policy: live it never learns of what it does not try, and a log shows it everything."""
    world = environment_of("logistic:actions=5")
    spec = ModelSpec({"type": "linucb", "alpha": 0.0}, min_exploration=0.0, reward_range=world.reward_range)  # fmt: skip
    stream = world.rounds(np.random.default_rng(1))
    stretches = [
        Given("logistic", world.reward_range, list(islice(stream, ROWS)))
        for _ in range(LOGS + LIVES)
    ]
    lived = [simulate(each, [("greedy", spec)], ROWS, s)[0] for s, each in enumerate(stretches[LOGS:])]  # fmt: skip
    truth = np.mean([run.cumulative_reward for run in lived], axis=0) / np.arange(1, ROWS + 1)
    covered, off, above = [], [], []
    for number, rounds in enumerate(stretches[:LOGS]):
        log = WorldLog(rounds, skew, number)
        found = lives(
            log, [Live("greedy", spec, salt) for salt in SALTS], Progressive(spec.build())
        )
        online = average([each for each in found if isinstance(each, Online)], 0.05)
        assert online.lives == len(SALTS)
        assert online.method == ("dr_ns" if skew else "rejection")
        live = truth[online.rounds - 1]
        covered.append(online.interval.covers(live))
        off.append(online.value - live)
        one = replay(log, [Trained("greedy", spec)], Progressive(spec.build())).replayed[0]
        told = evaluate(one.sample, one.actions, TRAINED_ON_LOG, ["dr"], world.reward_range)
        dr = told.estimators["dr"]
        assert dr.value is not None
        above.append(dr.value - live)
    assert sum(covered) >= LOGS - 1
    assert abs(np.mean(off)) < 3 * np.std(off, ddof=1) / np.sqrt(LOGS)
    assert np.mean(above) > 3 * np.std(above, ddof=1) / np.sqrt(LOGS)


def test_rewards_of_a_world_come_when_they_are_due() -> None:
    world = environment_of("delayed:of=logistic,late=5,actions=3")
    rounds = list(islice(world.rounds(np.random.default_rng(1)), 50))
    events = list(WorldLog(Given("delayed", world.reward_range, rounds)))
    made = [event.key for event in events if isinstance(event, Decided)]
    assert made == [str(i) for i in range(50)]
    asked: dict[str, int] = {}
    count = 0
    for event in events:
        if isinstance(event, Decided):
            asked[event.key] = count
            count += 1
        elif count < 50:
            i = int(event.decision.key)
            assert count - 1 - asked[event.decision.key] == rounds[i].delay
    assert sum(isinstance(event, Matured) for event in events) == 50
    assert all(int(a) < int(b) for a, b in pairwise(made))
