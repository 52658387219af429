"""Slates from a log: what each policy would have shown, by the sampler that serves, against all slates that there are."""

from __future__ import annotations

import json
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import ModelSpec
from policies.features import NO_FEATURES, encode_actions
from policies.sampler import draw_without_replacement
from rankd.v1 import log_pb2 as pb
from server.exports.parquet import write_parquet
from simulator import NotIdentifiable
from simulator.estimators.slates import SLATE_ESTIMATORS
from simulator.estimators.slates.pseudo_inverse import pseudo_inverse_parts
from simulator.logs import Decided, LogFormatError, Matured, open_log
from simulator.logs.rankd_log import RankdLog
from simulator.plackett_luce import conditionals, countable, marginals, pairs
from simulator.reward_models import Progressive
from simulator.slate_evaluation import evaluate_slates, slate_difference
from simulator.slates import replay_slates
from simulator.targets import Frozen, Trained
from tests.exports.memory_log import MemoryLog, settings
from tests.simulator.test_replay import Listed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from simulator.logs import Event

IDS = ["a", "b", "c", "d"]
ACTIONS = encode_actions(IDS, [])
MU, PI = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
WORTH = np.array([0.2, 0.5, 0.7, 0.9])
UNIFORM = ModelSpec({"type": "uniform"})


class Fixed:
    """A policy with one pmf over a, b, c, d."""

    estimand = "frozen"
    slotwise = False

    def __init__(self, pmf: NDArray[np.float64], name: str = "fixed") -> None:
        self._pmf, self.name = pmf, name

    def pmf(self, decision: Decided) -> NDArray[np.float64]:
        return self._pmf

    def learn(self, matured: Matured) -> None:
        """Nothing."""


# -- the law of slates -------------------------------------------------------------------------------


pmfs = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=5).map(
    lambda weights: np.array(weights) / sum(weights)
)


@given(pmf=pmfs, us=st.lists(st.floats(0, 0.999), min_size=1, max_size=3))
def test_conditionals_are_what_the_sampler_says(pmf: NDArray[np.float64], us: list[float]) -> None:
    drawn, probabilities = draw_without_replacement(pmf, us)
    assert conditionals(pmf, drawn).tolist() == pytest.approx(probabilities, abs=1e-12)


@given(pmf=pmfs, slots=st.integers(1, 3))
def test_marginals_are_sums_over_all_slates(pmf: NDArray[np.float64], slots: int) -> None:
    summed = np.zeros((slots, len(pmf)))
    for slate in permutations(range(len(pmf)), slots):
        summed[np.arange(slots), slate] += conditionals(pmf, slate).prod()
    assert marginals(pmf, slots) == pytest.approx(summed, abs=1e-12)


def test_marginals_of_too_many_slates_are_refused() -> None:
    assert countable(316, 2)
    assert not countable(317, 2)
    with pytest.raises(ValueError, match="more slates"):
        marginals(np.full(317, 1 / 317), 2)
    with pytest.raises(ValueError, match="for 2 slots"):
        marginals(np.array([1.0, 0.0]), 2)


def test_a_certain_action_leaves_nothing_to_draw() -> None:
    assert conditionals(np.array([1.0, 0.0]), [0, 1]).tolist() == pytest.approx(
        [1.0, np.nan], nan_ok=True
    )
    assert marginals(np.array([0.5, 0.5, 0.0]), 2)[1].tolist() == [0.5, 0.5, 0.0]


def test_the_pseudo_inverse_is_unbiased_over_all_slates_where_rewards_add_up() -> None:
    """Which sum_l w_l - L + 1 is not: slots of this law depend on each other."""
    parts = pseudo_inverse_parts(marginals(PI, 2).ravel(), pairs(MU, 2)).reshape(2, -1)
    by_parts = by_marginals = 0.0
    for one, two in permutations(range(len(IDS)), 2):
        p, reward = conditionals(MU, [one, two]).prod(), WORTH[one] + WORTH[two] / 2
        by_parts += p * (parts[0, one] + parts[1, two]) * reward
        w = marginals(PI, 2) / marginals(MU, 2)
        by_marginals += p * (w[0, one] + w[1, two] - 1) * reward
    assert by_parts == pytest.approx(value(PI, cascades=False), abs=1e-9)
    assert abs(by_marginals - value(PI, cascades=False)) > 0.01


# -- what a log tells --------------------------------------------------------------------------------


def slate(
    key: str, chosen: list[int], rewards: list[float | None], *, one_pmf: bool = True
) -> list[Event]:
    """As rankd's log has it: the slots, then their rewards."""
    left, made = list(range(len(IDS))), []
    for slot, k in enumerate(chosen):
        pmf = MU[left] / MU[left].sum()
        at = left.index(k)
        actions = ACTIONS.take(np.array(left))
        made.append(
            Decided(key, slot, NO_FEATURES, actions, at, pmf, float(pmf[at]), one_pmf=one_pmf)
        )
        left.remove(k)
    matured = [Matured(d, r) for d, r in zip(made, rewards, strict=True) if r is not None]
    return [*made, *matured]


def cascade(chosen: list[int], rng: np.random.Generator) -> list[float | None]:
    """A user who reads from the top and clicks once at most."""
    rewards: list[float | None] = [0.0] * len(chosen)
    for slot, k in enumerate(chosen):
        if rng.random() < WORTH[k]:
            rewards[slot] = 1.0
            break
    return rewards


def own(chosen: list[int], rng: np.random.Generator) -> list[float | None]:
    """A user who sees each slot by itself, the second half as often."""
    return [float(rng.random() < WORTH[k] / (slot + 1)) for slot, k in enumerate(chosen)]


def value(pmf: NDArray[np.float64], *, cascades: bool) -> float:
    """Of a policy in either world, over all slates."""
    total = 0.0
    for one, two in permutations(range(len(IDS)), 2):
        second = (1 - WORTH[one]) * WORTH[two] if cascades else WORTH[two] / 2
        total += conditionals(pmf, [one, two]).prod() * (WORTH[one] + second)
    return float(total)


@pytest.fixture(scope="module", params=["cascade", "own"])
def world(request: pytest.FixtureRequest) -> tuple[Listed, str]:
    rng = np.random.default_rng(5)
    user = cascade if request.param == "cascade" else own
    events: list[Event] = []
    for i in range(4_000):
        drawn, _ = draw_without_replacement(MU, rng.random(2).tolist())
        events += slate(str(i), drawn, user(drawn, rng))
    return Listed(events), request.param


def test_estimates_agree_with_the_truth_where_their_assumption_holds(
    world: tuple[Listed, str],
) -> None:
    log, kind = world
    model = Progressive(ModelSpec({"type": "linucb"}).build())
    (one,) = replay_slates(log, [Fixed(PI)], model, pseudo_inverse=True).replayed
    truth = value(PI, cascades=kind == "cascade")
    names = ["sips", "rips", "cascade-dr"] + (["iips", "pi"] if kind == "own" else [])
    found = evaluate_slates(one.slates, "frozen", names, alpha=0.001).estimators
    width = {}
    for name, each in found.items():
        assert each.low is not None
        assert each.high is not None
        assert each.low < truth < each.high, name
        width[name] = each.high - each.low
    assert width["cascade-dr"] < width["rips"] < width["sips"]
    assert value(MU, cascades=kind == "cascade") < truth - 0.1  # weights had something to do


def test_users_who_read_from_the_top_make_iips_wrong() -> None:
    """Exactly, in expectation: what the second slot earns depends on the first."""
    value_of_iips = 0.0
    mu, pi = marginals(MU, 2), marginals(PI, 2)
    for one, two in permutations(range(len(IDS)), 2):
        p = conditionals(MU, [one, two]).prod()
        second = (1 - WORTH[one]) * WORTH[two]
        value_of_iips += p * (
            pi[0, one] / mu[0, one] * WORTH[one] + pi[1, two] / mu[1, two] * second
        )
    assert value_of_iips > value(PI, cascades=True) + 0.03


def test_the_log_s_own_policy_has_weights_of_one(world: tuple[Listed, str]) -> None:
    log, _ = world
    found = replay_slates(log, [Fixed(MU), Fixed(PI)])
    slates = found.replayed[0].slates
    assert slates.prefix_weight() == pytest.approx(np.ones((4_000, 2)))
    assert slates.marginal_weight() == pytest.approx(np.ones((4_000, 2)))
    evaluation = evaluate_slates(slates, "frozen", ["sips", "rips", "iips"])
    mean = slates.reward.sum(axis=1).mean()
    assert {name: each.value for name, each in evaluation.estimators.items()} == pytest.approx(
        dict.fromkeys(("sips", "rips", "iips"), mean)
    )
    assert evaluation.vs_logged.value == pytest.approx(0.0)
    minus = slate_difference(found.replayed[1].slates, slates, "rips")
    assert minus.low is not None
    assert minus.low > 0


def test_a_policy_is_asked_before_it_knows_what_came_of_the_slate() -> None:
    spec = ModelSpec({"type": "epsilon_greedy", "epsilon": 0.0}, min_exploration=0.4)
    first, second = slate("1", [0, 1], [1.0, 0.0]), slate("2", [0, 1], [0.0, 0.0])
    immediate = replay_slates(Listed(first + second), [Trained("g", spec)]).replayed[0].slates
    assert immediate.pi[0].tolist() == pytest.approx([1 / 4, 1 / 3])
    # Greedy for a: .7, and .1 each for the others; then b from what a left.
    assert immediate.pi[1].tolist() == pytest.approx([0.7, 1 / 3])
    delayed = first[:2] + second[:2] + first[2:] + second[2:]
    slates = replay_slates(Listed(delayed), [Trained("g", spec)]).replayed[0].slates
    assert slates.pi.tolist() == pytest.approx(np.array([[1 / 4, 1 / 3]] * 2))


def test_rewards_that_come_between_the_slots_and_out_of_order() -> None:
    """dsjson has each slot's right behind it; a slate counts in the order of decisions, and only when all are in."""
    d0, d1, m0, m1 = slate("1", [0, 1], [1.0, 2.0])
    e0, e1, n0, n1 = slate("2", [1, 0], [3.0, 4.0])
    between = replay_slates(Listed([d0, m0, d1, m1, e0, n0, e1, n1]), [Fixed(PI)])
    late = replay_slates(Listed([d0, d1, e0, e1, n1, n0, m1, m0]), [Fixed(PI)])
    for found in (between, late):
        assert found.replayed[0].slates.reward.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    missing = replay_slates(Listed([d0, d1, e0, e1, n1, n0, m1]), [Fixed(PI)])
    assert (missing.decided, missing.matured) == (2, 1)
    assert missing.replayed[0].slates.reward.tolist() == [[3.0, 4.0]]


def test_shorter_slates_are_filled_up_with_what_adds_nothing() -> None:
    events = slate("1", [0, 1], [1.0, 2.0]) + slate("2", [3], [5.0])
    model = Progressive(ModelSpec({"type": "linucb"}).build())
    slates = replay_slates(Listed(events), [Fixed(PI)], model).replayed[0].slates
    assert slates.reward.tolist() == [[1.0, 2.0], [5.0, 0.0]]
    for estimator in ("sips", "rips", "cascade-dr", "iips"):
        assert np.isfinite(SLATE_ESTIMATORS[estimator]().rows(slates)).all()
    assert slates.prefix_weight()[1].tolist() == pytest.approx([4.0, 4.0])


def test_what_is_no_log_of_slates_is_refused() -> None:
    d0, d1, m0, m1 = slate("1", [0, 1], [1.0, 2.0])
    e0, *_ = slate("2", [1, 0], [3.0, 4.0])
    with pytest.raises(LogFormatError, match="must follow each other"):
        replay_slates(Listed([d0, e0, d1]), [Fixed(PI)])
    with pytest.raises(LogFormatError, match="slot 1 after 2 slots"):
        replay_slates(Listed([d0, d1, d1]), [Fixed(PI)])
    with pytest.raises(ValueError, match="several slots"):
        replay_slates(Listed([d0, m0]), [Fixed(PI)])
    slotwise = Fixed(PI)
    slotwise.slotwise = True
    with pytest.raises(ValueError, match="each slot anew"):
        replay_slates(Listed([d0, d1, m0, m1]), [slotwise])
    assert replay_slates(Listed([]), [Fixed(PI)]).matured == 0


def test_marginals_are_not_made_up_where_the_log_does_not_say_how_slots_were_drawn() -> None:
    rng = np.random.default_rng(1)
    events: list[Event] = []
    for i in range(1_500):
        drawn, _ = draw_without_replacement(MU, rng.random(2).tolist())
        events += slate(str(i), drawn, own(drawn, rng), one_pmf=False)
    slates = replay_slates(Listed(events), [Fixed(PI)]).replayed[0].slates
    found = evaluate_slates(slates, "frozen", ["sips", "iips", "pi"]).estimators
    assert found["sips"].value is not None
    for name in ("iips", "pi"):
        assert found[name].value is None
        assert "no marginal probability" in found[name].reason


def test_little_overlap_is_refused_by_each_estimator_s_own_weights() -> None:
    few = [event for i in range(50) for event in slate(str(i), [i % 4, (i + 1) % 4], [1.0, 0.0])]
    slates = replay_slates(Listed(few), [Fixed(PI)]).replayed[0].slates
    found = evaluate_slates(slates, "frozen", ["sips", "iips"])
    assert found.estimators["sips"].value is None
    assert "below 100" in found.estimators["sips"].reason
    assert "slot " in found.estimators["iips"].reason
    forced = evaluate_slates(slates, "frozen", ["sips"], force=True).estimators["sips"]
    assert forced.value is not None
    assert not forced.identifiable
    assert slate_difference(slates, slates, "sips").value is None
    versus = slate_difference(slates, slates, "sips", force=True)
    assert versus.value == 0
    assert not versus.identifiable
    assert "below 100" in versus.reason


def test_the_bootstrap_draws_slates_and_is_refused_for_a_path(world: tuple[Listed, str]) -> None:
    log, _ = world
    slates = replay_slates(log, [Fixed(PI)]).replayed[0].slates
    frozen = evaluate_slates(slates, "frozen", ["rips"], interval="bootstrap").estimators["rips"]
    assert frozen.interval == "percentile bootstrap"
    learned = evaluate_slates(slates, "trained_on_log", ["rips"], interval="bootstrap")
    path = learned.estimators["rips"]
    assert path.low is None
    assert "path of learning" in path.reason
    with pytest.raises(ValueError, match="normal and bootstrap only"):
        evaluate_slates(slates, "frozen", ["rips"], interval="cressie_read")


# -- rankd's own log, and dsjson ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def served() -> MemoryLog:
    """Two slots of three actions, served by a policy that learns; the slots' rewards by name."""
    log = MemoryLog(settings("shop", min_exploration=0.5))
    for i in range(300):
        decision = log.rank(
            f"event-{i}", actions=("a", "b", "c"), numbers={"x": i % 5}, slot_ids=["top", "low"]
        )
        for slot, name in enumerate(("top", "low")):
            if decision.ranking[slot] == 1:
                log.reward(f"event-{i}", 1.0, name)
        log.tick()
    log.tick(30)
    return log


def test_rankd_s_own_log(served: MemoryLog) -> None:
    log = RankdLog(served)
    found = replay_slates(log, [Frozen("uniform", UNIFORM.build())])
    slates = found.replayed[0].slates
    assert found.matured == found.decided == len(slates) == 300
    logged = [
        list(record.decision().slot_probabilities)
        for record in served.log
        if record.kind == pb.KIND_DECISION
    ]
    assert slates.mu.tolist() == pytest.approx(np.array(logged))
    assert slates.pi.tolist() == pytest.approx(np.array([[1 / 3, 1 / 2]] * 300))
    assert slates.pi_marginal == pytest.approx(np.full((300, 2), 1 / 3))
    assert np.isfinite(slates.mu_marginal).all()
    assert slates.reward.sum() > 150
    evaluation = evaluate_slates(slates, "frozen", ["sips", "rips", "iips"], alpha=0.001)
    for each in evaluation.estimators.values():  # b is in one of two slots of three
        assert each.low is not None
        assert each.high is not None
        assert each.low < 2 / 3 < each.high


def test_an_export_that_lost_its_slots_is_refused(served: MemoryLog, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    with path.open("wb") as file:
        write_parquet(served, file)
    with pytest.raises(ValueError, match="have a decision for each slot"):
        replay_slates(open_log(path), [Frozen("uniform", UNIFORM.build())])


def test_dsjson_of_conditional_bandits(tmp_path: Path) -> None:
    path = tmp_path / "ccb.json"
    line = {
        "EventId": "",
        "c": {"_multi": [{"n": 1}, {"n": 2}, {"n": 3}], "_slots": [{}, {}]},
        "_outcomes": [
            {"_label_cost": -1, "_a": [1, 0, 2], "_p": [0.5, 0.3, 0.2]},
            {"_label_cost": 0, "_a": [2, 0], "_p": [0.4, 0.6]},
        ],
    }
    path.write_text("".join(json.dumps({**line, "EventId": str(i)}) + "\n" for i in range(3)))
    (one,) = replay_slates(open_log(path), [Frozen("uniform", UNIFORM.build())]).replayed
    assert one.slates.prefix_weight()[0].tolist() == pytest.approx([2 / 3, 2 / 3 / 0.8])
    assert SLATE_ESTIMATORS["sips"]().value(one.slates) == pytest.approx(1 / 3 / 0.4)
    with pytest.raises(NotIdentifiable, match="no marginal"):
        SLATE_ESTIMATORS["iips"]().value(one.slates)
