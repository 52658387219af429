"""Choosing settings from a log: what is chosen on is not valued on, and why that matters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from policies import PolicyError
from policies.features import NO_FEATURES, encode_actions
from simulator.evaluation import evaluate, logged
from simulator.experiments import FileSource, NothingToChooseError, Opened, StoreError, choose, tune
from simulator.experiments.cut import FrozenAt, Part
from simulator.logs import ArraysLog, Decided, Matured
from simulator.replay import replay
from simulator.targets import Trained
from tests.simulator.test_replay import SPEC, Listed

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.logs import Event

GRID = "linucb:alpha=[0,1],ridge=[0.1,30]"


def arrays(n: int, seed: int, *, useful: bool, actions: int = 3) -> ArraysLog:
    """A uniform log. Useful: the sign of x0 says which of the first two pays. Useless: whatever is done pays a coin's toss."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    action = rng.integers(actions, size=n)
    right = action == (x[:, 0] > 0)
    reward = right.astype(float) if useful else rng.integers(2, size=n).astype(float)
    pi_b = np.full((n, actions), 1.0 / actions)
    return ArraysLog({"context": x, "action": action, "reward": reward, "pi_b": pi_b}, (0.0, 1.0))


def test_choosing_and_scoring_on_the_same_rows_is_too_high_and_the_split_is_not() -> None:
    """Every policy is worth exactly .5 here: rewards are coins. 80 logs."""
    logs = [arrays(120, seed, useful=False) for seed in range(80)]
    given: dict[str, Any] = {"estimator": "ips", "force": True, "min_exploration": 0.02}
    same = [tune(Opened(log), [GRID], score_on_chosen=True, **given) for log in logs]
    honest = [tune(Opened(log), [GRID], choose_on=0.5, **given) for log in logs]

    def error(values: list[float]) -> tuple[float, float]:
        """(mean of value - .5, its standard error)."""
        off = np.array(values) - 0.5
        return float(off.mean()), float(off.std(ddof=1) / np.sqrt(len(off)))

    biased, spread = error([found.policies[0].estimate["value"] for found in same])
    assert biased > 4 * spread
    unbiased, spread = error([found.policies[0].estimate["value"] for found in honest])
    assert abs(unbiased) < 2 * spread
    chosen, spread = error([found.policies[0].when_chosen.estimate["value"] for found in honest])
    assert chosen > 4 * spread
    # What is said of luck is about what luck did.
    said = float(np.mean([found.optimism for found in same]))
    assert 0.5 * biased < said < 2 * biased
    assert all(found.optimistic for found in same)
    assert not any(found.optimistic for found in honest)


def test_what_is_better_is_found_and_valued_as_replay_does() -> None:
    log = arrays(1_500, 1, useful=True)
    found = tune(Opened(log), ["epsilon_greedy", "linucb:alpha=[0.1,1]"], estimator="ips")
    assert (found.cut, found.chosen_on, found.valued_on, found.left_out) == (900, 900, 600, 0)
    winner, runner_up, *rest = found.policies
    assert winner.policy.startswith("linucb")
    assert (winner.role, winner.winner_minus) == ("winner", None)
    assert runner_up.role.startswith("runner-up")
    assert {each.role for each in (runner_up, *rest)} in (
        {"runner-up", "default"},
        {"runner-up, default"},
    )
    assert sum(each.chance_best for each in found.candidates) == pytest.approx(1.0)
    # By hand: one pass over the whole log, and its last 600 rows.
    alpha = float(winner.policy.partition("alpha=")[2] or 0.3)
    spec = Trained("", _linucb(alpha))
    (one,) = replay(log, [spec]).replayed
    later = one.sample.rows(slice(900, None))
    result = evaluate(later, one.actions[900:], "trained_on_log", ["ips"], (0.0, 1.0))
    assert winner.estimate["value"] == result.estimators["ips"].value
    assert winner.vs_logged["low"] == result.vs_logged.low
    assert found.logged["value"] == logged(later).value


def _linucb(alpha: float) -> Any:
    from policies import ModelSpec

    return ModelSpec({"type": "linucb", "alpha": alpha}, reward_range=(0.0, 1.0))


def test_frozen_policies_are_valued_on_what_they_never_learned() -> None:
    log = arrays(2_000, 1, useful=True)
    found = tune(Opened(log), ["linucb:alpha=[0.1,1]"], estimand="frozen", choose_on=0.5)
    assert (found.cut, found.chosen_on, found.valued_on) == (1_000, 500, 1_000)
    assert found.policies[0].estimate["value"] > 0.9


def test_more_jobs_and_a_folder_change_nothing(tmp_path: Path) -> None:
    source = Opened(arrays(800, 1, useful=True))
    alone = tune(source, [GRID])
    assert tune(source, [GRID], jobs=2, folder=tmp_path) == alone
    seen: list[tuple[float, int]] = []
    assert (
        tune(source, [GRID], folder=tmp_path, jobs=1, progress=lambda *at: seen.append(at)) == alone
    )
    assert seen == [
        (0, 7),
        (6, 7),
        (7, 7),
    ]  # a survey, five candidates and the last pass, which were there
    # One candidate more is one pass more (and another winner may be).
    wider = tune(source, [GRID, "uniform"], folder=tmp_path)
    assert [each.estimate for each in wider.candidates[:-1]] == [
        each.estimate for each in alone.candidates
    ]


def test_a_log_that_changed_is_refused(tmp_path: Path) -> None:
    path, folder = tmp_path / "log.csv", tmp_path / "results"
    rng = np.random.default_rng(1)
    rows = [
        f"{x:.3f},{'ab'[k]},0.5,0.5,{int(k == (x > 0))}"
        for x, k in zip(rng.standard_normal(600), rng.integers(2, size=600), strict=True)
    ]
    path.write_text("\n".join(["x,action,pmf:a,pmf:b,reward", *rows]) + "\n")
    before = tune(FileSource(path), ["linucb:alpha=[0,1]"], folder=folder)
    assert tune(FileSource(path), ["linucb:alpha=[0,1]"], folder=folder) == before
    other = str(1 - int(rows[300][-1]))  # rewards have the same range
    path.write_text(path.read_text().replace(rows[300], rows[300][:-1] + other, 1))
    with pytest.raises(StoreError, match=r"the log is not the one .*log\.digest"):
        tune(FileSource(path), ["linucb:alpha=[0,1]"], folder=folder)


ACTIONS = encode_actions(["a", "b"], [])


def decided(key: str) -> Decided:
    return Decided(key, 0, NO_FEATURES, ACTIONS, 0, np.array([0.5, 0.5]), 0.5)


def test_what_was_not_known_at_the_cut_counts_for_neither_part() -> None:
    """Decisions 0 to 3, cut at 2; the reward of 1 comes after 2 was made."""
    d = [decided(str(i)) for i in range(4)]
    events: list[Event] = [
        *(d[0], Matured(d[0], 0.0), d[1], d[2], Matured(d[1], 0.25)),
        *(Matured(d[2], 0.5), d[3], Matured(d[3], 1.0)),
    ]
    log = Listed(events)
    earlier, later = Part(log, 0, 2), Part(log, 2, None)
    chosen_on = replay(earlier, [Trained("g", SPEC)]).replayed[0].sample
    assert chosen_on.reward.tolist() == [0.0]
    target = Trained("g", SPEC)
    whole = replay(later, [target]).replayed[0].sample
    assert (earlier.before, later.before) == (0, 2)
    assert whole.reward[later.before :].tolist() == [0.5, 1.0]
    # All four were learned, each when its reward came; a frozen one learned what was known when 2 was made.
    part = Part(log, 2, None)
    frozen = replay(part, [FrozenAt(Trained("g", SPEC), part)]).replayed[0].sample
    assert frozen.pi.tolist() == pytest.approx([0.5, *[frozen.pi[1]] * 3])
    assert whole.pi[3] != frozen.pi[3]
    assert (later.name, later.reward_range, later.counters) == ("listed", (0.0, 1.0), Counter())


def test_late_rewards_are_counted() -> None:
    """Every fourth reward comes 20 decisions late: of 300 decisions before the cut, 5 rewards are not known there."""
    rng = np.random.default_rng(1)
    made = [decided(str(i)) for i in range(600)]
    events: list[Event] = []
    for i, each in enumerate(made):
        events.append(each)
        if i >= 20 and i % 4 == 0:
            events.append(Matured(made[i - 20], float(rng.integers(2))))
        if i % 4:
            events.append(Matured(each, float(rng.integers(2))))
    found = tune(
        Opened(Listed(events)), ["epsilon_greedy:epsilon=[0.5,1]"], choose_on=0.5, estimator="ips"
    )
    assert (found.cut, found.chosen_on, found.left_out) == (300, 295, 5)


def test_ties_are_shared_and_the_first_wins() -> None:
    same = [0.001, -0.001, 0.002]
    choice = choose([0.5, 0.5, None, 0.1], [same, same, None, [0.0] * 3], np.random.default_rng(1))
    assert choice.order == (0, 1, 3)
    assert choice.chances == (0.5, 0.5, 0.0, 0.0)
    assert abs(choice.optimism) < 1e-3


def test_optimism_is_the_mean_of_a_maximum() -> None:
    """Independent candidates of one value and standard error 1: E max of 2 normals is 1 / sqrt(pi)."""
    blocks = np.zeros((2, 100))
    blocks[0, :50] = blocks[1, 50:] = 1.0 / np.sqrt(50.0)
    choice = choose([0.0, 0.0], blocks.tolist(), np.random.default_rng(1))
    assert choice.optimism == pytest.approx(1 / np.sqrt(np.pi), abs=0.05)
    assert choice.chances[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"choose_on": 1.0}, r"choose_on 1: must be in \(0, 1\)"),
        ({"choose_on": 0.0}, "choose_on 0"),
        ({"estimator": "dros"}, "estimator dros: has a setting or a model to be chosen itself"),
        ({"estimator": "best"}, "estimator best: there is none; take one of ips"),
        ({"estimand": "online"}, "estimand online"),
        ({"alpha": 1.0}, "alpha 1"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tune(Opened(arrays(100, 1, useful=True)), ["linucb"], **given)


def test_a_log_that_cannot_tell_is_refused() -> None:
    with pytest.raises(NothingToChooseError, match=r"cannot tell .* below 100"):
        tune(Opened(arrays(150, 1, useful=True)), ["linucb"])
    with pytest.raises(NothingToChooseError, match="0 decisions: too few"):
        tune(Opened(Listed([])), ["linucb"])
    with pytest.raises(PolicyError, match="--policy linucb:alpha=-1"):
        tune(Opened(Listed([])), ["linucb:alpha=[1,-1]"])
