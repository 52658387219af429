"""What a policy would earn live, from a log: against living it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from policies import Features, Interaction, ModelSpec
from policies.features import NO_FEATURES, encode_actions
from policies.sampler import Purpose, draw, seed
from simulator.dr_ns import Adaptive, RunningQuantile, Uniform
from simulator.ips import NotIdentifiable
from simulator.logs import Decided, LogFormatError, Matured
from simulator.online import Live, online
from simulator.replay import replay
from simulator.reward_models import Progressive
from simulator.targets import Trained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from simulator.life import Online
    from simulator.logs import Event

K, D, NOISE = 5, 4, 0.5
ACTIONS = encode_actions([f"a{k}" for k in range(K)], [])
THETA = np.random.default_rng(7).normal(size=(K, D)) / np.sqrt(D)
UNIFORM = np.full(K, 1 / K)
SPEC = ModelSpec({"type": "linucb"}, min_exploration=0.1, reward_range=(-8.0, 8.0))
SEEDS = 8


class Listed:
    """A log of events in a list."""

    name = "listed"
    reward_range = (-8.0, 8.0)

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.counters: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)


@dataclass
class Linear:
    """A linear bandit: K actions, D normal features, normal noise."""

    random: np.random.Generator

    def context(self) -> Features:
        names = np.arange(1, D + 1, dtype=np.uint64)
        letters = np.full(D, ord("u"), np.uint8)
        return Features(names, self.random.normal(size=D), letters, np.ones(D, np.bool_))

    def play(self, context: Features, pmf: NDArray[np.float64]) -> tuple[int, float]:
        k = draw(pmf, self.random.random())
        return k, float(THETA[k] @ context.value + NOISE * self.random.normal())


def logged(number: int, rows: int, skew: float = 0.0, delay: int = 0) -> Listed:
    """A log whose mu gives a share `skew` to one of two actions, the rest to all alike; rewards come `delay` rows later."""
    world = Linear(np.random.default_rng(number))
    events: list[Event] = []
    waiting: list[Matured] = []
    for i in range(rows):
        context = world.context()
        mu = (1 - skew) * UNIFORM
        mu[int(context.value[0] > 0)] += skew
        k, reward = world.play(context, mu)
        row = Decided(f"{number}/{i}", 0, context, ACTIONS, k, mu, float(mu[k]))
        events.append(row)
        waiting.append(Matured(row, reward))
        if i >= delay:
            events.append(waiting.pop(0))
    return Listed([*events, *waiting])


def lived(number: int, rounds: int) -> float:
    """The mean reward of the same learner, live for so many rounds."""
    world = Linear(np.random.default_rng(1000 + number))
    model, total = SPEC.build(), 0.0
    for i in range(rounds):
        context = world.context()
        pmf = model.pmf(context, ACTIONS, i).pmf
        k, reward = world.play(context, pmf)
        model.learn([Interaction(context, ACTIONS, k, pmf, reward)])
        total += reward
    return total / rounds


def compare(
    logs: list[Listed], reward_model: ModelSpec | None
) -> tuple[list[Online], list[float], list[float]]:
    """For each log: the estimate, what the learner earns live in as many rounds, and progressive IPS on the whole log."""
    found = []
    for log in logs:
        model = None if reward_model is None else Progressive(reward_model.build())
        found.append(online(log, Live("linucb", SPEC), model))
    live = [lived(number, each.rounds) for number, each in enumerate(found)]
    samples = [replay(log, [Trained("linucb", SPEC)]).replayed[0].sample for log in logs]
    return found, live, [float((each.weight * each.reward).mean()) for each in samples]


def check(found: list[Online], live: list[float], trained: list[float]) -> None:
    values = np.array([each.value for each in found])
    error = np.sqrt((values.var(ddof=1) + np.var(live, ddof=1)) / len(values))
    assert abs(values.mean() - np.mean(live)) < 2 * error
    assert error < 0.03
    # Learning from every row of the log, it would seem to earn more.
    more = np.array(trained) - values
    assert more.mean() > 2 * more.std(ddof=1) / np.sqrt(len(more)) > 0


def test_rejection_is_what_the_learner_earns_live() -> None:
    found, live, trained = compare([logged(number, 1200) for number in range(SEEDS)], None)
    check(found, live, trained)
    for each in found:
        assert (each.method, each.estimand, each.rows, each.cut) == ("rejection", "online", 1200, 0)
        # One action of K is drawn, whatever the policy does.
        assert each.acceptance == pytest.approx(1 / K, abs=4 * np.sqrt(0.16 / 1200))
        assert each.curve.shape == (each.rounds,)
        assert each.curve[-1] / each.rounds == pytest.approx(each.value)
        assert each.interval.covers(each.value)


def test_dr_ns_is_what_the_learner_earns_live() -> None:
    found, live, trained = compare(
        [logged(number, 1400, skew=0.5) for number in range(SEEDS)], SPEC
    )
    check(found, live, trained)
    for each in found:
        assert each.method == "dr_ns"
        assert each.cut < 0.01
        assert each.interval.covers(each.value)


def test_dr_ns_uses_a_uniform_log_better_than_rejection() -> None:
    log = logged(1, 1200)
    one = online(log, Live("linucb", SPEC))
    other = online(log, Live("linucb", SPEC), Progressive(SPEC.build()), method="dr_ns")
    assert other.method == "dr_ns"
    assert other.rounds >= one.rounds
    assert other.interval.half_width < 0.8 * one.interval.half_width


def test_the_policy_that_logged_accepts_every_row() -> None:
    """A learner's own log is its life: the same pmfs, the same rewards, the same model in the end."""
    world, model = Linear(np.random.default_rng(3)), SPEC.build()
    events: list[Event] = []
    rewards = []
    for i in range(150):
        context = world.context()
        pmf = model.pmf(context, ACTIONS, seed(b"online", Purpose.POLICY, 0, str(i))).pmf
        k, reward = world.play(context, pmf)
        row = Decided(str(i), 0, context, ACTIONS, k, pmf, float(pmf[k]))
        events += [row, Matured(row, reward)]
        model.learn([row.interaction(reward)])
        rewards.append(reward)
    target = Live("itself", SPEC)
    found = online(Listed(events), target, method="dr_ns")
    assert (found.rounds, found.acceptance, found.cut) == (150, 1.0, 0.0)
    assert found.value == pytest.approx(np.mean(rewards))
    assert found.curve.tolist() == pytest.approx(np.cumsum(rewards).tolist())
    assert target.model.state() == model.state()


class Spy(Live):
    """Remembers what it learned."""

    def __init__(self) -> None:
        super().__init__("spy", SPEC)
        self.learned: list[Interaction] = []

    def learn(self, matured: Matured) -> None:
        super().learn(matured)
        self.learned.append(matured.decision.interaction(matured.reward))


def test_an_accepted_row_is_learned_when_its_reward_was_final() -> None:
    only = encode_actions(["a"], [])
    rows = [Decided(str(i), 0, NO_FEATURES, only, 0, np.ones(1), 1.0) for i in range(3)]
    spy = Spy()
    events: list[Event] = [*rows[:2], Matured(rows[1], 1.0), rows[2], Matured(rows[0], 0.5)]
    with pytest.raises(NotIdentifiable, match="2 of 2 rows were accepted"):
        online(Listed(events), spy)
    assert [each.reward for each in spy.learned] == [1.0, 0.5]


def test_it_learns_as_if_it_had_played() -> None:
    """The propensity that it learns from is its own, not the log's."""
    spy = Spy()
    found = online(logged(2, 1500, skew=0.5, delay=20), spy)
    assert len(spy.learned) == found.rounds
    # Greedy but for a floor of .1 over K actions: no log's pmf here has such a least entry.
    assert {round(float(each.pmf.min()), 9) for each in spy.learned} <= {0.1 / K, 1 / K}
    wanted = sum(each.propensity > 0.1 / K for each in spy.learned)
    assert wanted / found.rounds == pytest.approx(0.92, abs=0.06)


def test_without_pmfs_only_uniform_propensities_will_do() -> None:
    log = logged(1, 800)
    with_pmfs = online(log, Live("linucb", SPEC))
    assert online(without_pmfs(log), Live("linucb", SPEC)).value == with_pmfs.value
    with pytest.raises(NotIdentifiable, match="no pmfs, and the propensity"):
        online(without_pmfs(logged(1, 50, skew=0.5)), Live("linucb", SPEC))


def without_pmfs(log: Listed) -> Listed:
    rows = {e.key: replace(e, pmf=None) for e in log.events if isinstance(e, Decided)}
    return Listed(
        [
            Matured(rows[e.decision.key], e.reward) if isinstance(e, Matured) else rows[e.key]
            for e in log.events
        ]
    )


def test_other_numbers_of_actions_end_rejection() -> None:
    """1 / K would accept more of the contexts with few actions."""
    fewer = ACTIONS.take(np.arange(2))
    events = [e for e in logged(1, 900).events if isinstance(e, Decided)]
    events[600:] = [
        replace(e, actions=fewer, chosen=e.chosen % 2, pmf=np.full(2, 0.5), propensity=0.5)
        for e in events[600:]
    ]
    log = Listed([each for e in events for each in (e, Matured(e, 1.0))])
    assert online(log, Live("linucb", SPEC)).method == "dr_ns"
    with pytest.raises(NotIdentifiable, match="same number of actions"):
        online(log, Live("linucb", SPEC), method="rejection")


def test_what_cannot_be_known_is_refused() -> None:
    with pytest.raises(NotIdentifiable, match=r"of 200 rows were accepted .* below 100"):
        online(logged(1, 200), Live("linucb", SPEC))
    with pytest.raises(NotIdentifiable, match="take a lower quantile"):
        online(logged(1, 1000, skew=0.5), Live("linucb", SPEC), quantile=1.0)
    never = logged(1, 1500)
    mu = np.array([0.25, 0.25, 0.25, 0.25, 0.0])
    rows = [e for e in never.events if isinstance(e, Decided) and e.chosen < 4]
    rows = [replace(e, pmf=mu, propensity=0.25) for e in rows]
    with pytest.raises(NotIdentifiable, match="never done by the log's policy"):
        online(Listed([x for e in rows for x in (e, Matured(e, 0.0))]), Live("linucb", SPEC))
    with pytest.raises(NotIdentifiable, match="0 of 0 rows"):
        online(Listed([]), Live("linucb", SPEC))


def test_contradictions_are_refused() -> None:
    row = logged(1, 1).events[0]
    assert isinstance(row, Decided)
    with pytest.raises(LogFormatError, match="never made, or has two"):
        online(Listed([row, Matured(row, 1.0), Matured(row, 1.0)]), Live("linucb", SPEC))
    with pytest.raises(LogFormatError, match="pdrop"):
        online(Listed([row, replace(row, key="2", weight=2.0)]), Live("linucb", SPEC))
    blind = Progressive(ModelSpec({"type": "exp3"}).build())
    with pytest.raises(ValueError, match="cannot be the reward model"):
        online(Listed([row]), Live("linucb", SPEC), blind)
    with pytest.raises(ValueError, match="quantile 2"):
        online(Listed([]), Live("linucb", SPEC), quantile=2.0)


@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 1.0])
def test_the_running_quantile_is_the_quantile(q: float) -> None:
    numbers = np.random.default_rng(1).random(200)
    running = RunningQuantile(q)
    for n, number in enumerate(numbers, 1):
        running.add(float(number))
        assert running.value == np.quantile(numbers[:n], q, method="inverted_cdf")


def test_c_does_not_depend_on_the_row_that_it_decides_about() -> None:
    adaptive = Adaptive(0.0)
    pi = np.array([0.9, 0.1])
    assert adaptive.next(pi, np.array([0.45, 0.55])) == pytest.approx(
        0.5
    )  # the first has only itself
    assert adaptive.next(pi, np.array([0.09, 0.91])) == pytest.approx(0.5)
    assert adaptive.next(pi, pi) == pytest.approx(0.1)
    assert Uniform(4).has(np.full(4, 0.25))
    assert not Uniform(4).has(np.array([0.26, 0.24, 0.25, 0.25]))
