"""Policies play live: rewards come when they should, and those who learn earn more than those who do not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import typer

from policies import ModelSpec, PolicyError
from policies.features import NO_FEATURES, encode_actions
from rankd.commands.datasets import datasets
from rankd.commands.simulate import simulate as command
from simulator.environments import Environment, Round, environment_of
from simulator.simulation import Run, simulate, spread

if TYPE_CHECKING:
    from collections.abc import Iterator


def spec(policy: dict[str, object], world: Environment, floor: float = 0.0) -> ModelSpec:
    return ModelSpec(policy, min_exploration=floor, reward_range=world.reward_range)


def play(name: str, rounds: int, *policies: dict[str, object], seed: int = 1) -> list[Run]:
    world = environment_of(name)
    return simulate(world, [(str(p["type"]), spec(p, world)) for p in policies], rounds, seed)


def test_linucb_beats_uniform_by_a_wide_margin() -> None:
    linucb, uniform = play("linear", 1_000, {"type": "linucb"}, {"type": "uniform"})
    assert linucb.regret.sum() < 0.25 * uniform.regret.sum()
    assert linucb.reward.mean() > uniform.reward.mean() + 0.8
    assert linucb.regret.min() >= 0.0
    assert linucb.cumulative_regret[-1] == pytest.approx(linucb.regret.sum())
    assert linucb.cumulative_reward[-1] == pytest.approx(linucb.reward.sum())


def test_one_seed_gives_one_result_to_the_bit() -> None:
    policies: list[dict[str, object]] = [{"type": "lints"}, {"type": "auto"}]
    first, again, other = (play("cold_start", 60, *policies, seed=s) for s in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        assert a.reward.tobytes() == b.reward.tobytes()
        assert a.regret.tobytes() == b.regret.tobytes()
        assert a.reward.tobytes() != c.reward.tobytes()


def test_a_policy_may_be_spelled_as_on_the_command_line() -> None:
    world = environment_of("logistic")
    built = ModelSpec({"type": "linucb", "alpha": 0.5}, reward_range=world.reward_range)
    spelled, given = simulate(world, ["linucb:alpha=0.5", ("built", built)], 50, 1)
    assert (spelled.policy, given.policy) == ("linucb:alpha=0.5", "built")
    assert spelled.reward.tobytes() == given.reward.tobytes()
    with pytest.raises(PolicyError, match=r"^policy linucb:alpah=1: "):
        simulate(world, ["linucb:alpah=1"], 1, 1)


def test_a_policy_fares_the_same_whoever_else_plays() -> None:
    alone = play("logistic", 200, {"type": "linucb"})[0]
    beside = play("logistic", 200, {"type": "uniform"}, {"type": "linucb"})[1]
    assert alone.reward.tobytes() == beside.reward.tobytes()
    twins = play("logistic", 200, {"type": "linucb"}, {"type": "linucb"})
    assert twins[0].reward.tobytes() == twins[1].reward.tobytes()


@dataclass(frozen=True)
class Sure:
    """b pays 1 and a nothing; each reward late by `late`."""

    late: int
    name: ClassVar[str] = "sure"
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        pays = np.array([0.0, 1.0])
        yield from repeat(
            Round(NO_FEATURES, encode_actions(["a", "b"], []), pays, pays, delay=self.late)
        )


@pytest.mark.parametrize("late", [0, 1, 20])
def test_a_reward_is_not_known_before_it_comes(late: int) -> None:
    """A greedy policy plays both alike until the first reward of b is known, and then only b."""
    world = Sure(late)
    greedy = {"type": "epsilon_greedy", "epsilon": 0.0}
    for seed in range(1, 6):
        run = simulate(world, [("greedy", spec(greedy, world))], 60, seed)[0]
        never = simulate(Sure(60), [("greedy", spec(greedy, world))], 60, seed)[0]
        first = int(np.argmax(run.reward > 0))
        known = first + late + 1  # the first decision that knows it
        assert run.reward[known:].min() == 1.0
        # Until anything is known it plays as if nothing ever were.
        assert run.reward[: late + 1].tolist() == never.reward[: late + 1].tolist()


def test_delays_cost() -> None:
    prompt, late = (
        play(name, 600, {"type": "linucb"})[0].regret.sum()
        for name in ("linear", "delayed:of=linear,late=300")
    )
    assert late > 2 * prompt


def test_items_that_are_new_are_played_by_their_features() -> None:
    shared, uniform = play(
        "cold_start:churn=0.1,features=3",
        500,
        {"type": "linucb", "model": "shared"},
        {"type": "uniform"},
    )
    assert shared.regret.sum() < 0.7 * uniform.regret.sum()


def test_slates_are_learned() -> None:
    linucb, uniform = play("slates:bias=-3,scale=2", 800, {"type": "linucb"}, {"type": "uniform"})
    assert set(linucb.reward.tolist()) == {0.0, 1.0}
    assert linucb.regret.min() >= -1e-12
    assert linucb.regret.sum() < 0.6 * uniform.regret.sum()


def test_all_slots_are_filled_by_a_policy_that_mixes_others() -> None:
    run = play("slates:actions=3,slots=3", 100, {"type": "auto"})[0]
    assert np.abs(run.regret).max() < 1e-12  # all three are always shown, in whatever order


def test_a_data_set_ends() -> None:
    pytest.importorskip("sklearn")
    world = environment_of("iris")
    run = simulate(world, [("linucb", spec({"type": "linucb"}, world))], 1_000, 1)[0]
    assert len(run.reward) == 150
    assert run.reward[50:].mean() > 0.7


def test_spread() -> None:
    found = spread(np.array([1.0, 2.0, 3.0]))
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.mean == pytest.approx(4.302653 / 3**0.5, rel=1e-6)  # t table, 2 d.f.
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert spread(np.array([2.0])) == (2.0, None, None)


def run_command(specs: list[str], environment: str = "linear", **others: Any) -> int:
    settings = {"rounds": 100, "seeds": 3, "min_exploration": 0.05, "standardise": True}
    return command(environment, specs, **{**settings, "cache": None, "as_json": False, **others})


def test_the_command_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["linucb:alpha=0.5", "uniform"], as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["rounds"], report["seeds"]) == (100, [1, 2, 3])
    first, second = report["policies"]
    assert (first["policy"], second["policy"]) == ("linucb:alpha=0.5", "uniform")
    assert "regret_minus_first" not in first
    difference = second["regret_minus_first"]
    assert 0 < difference["low"] < difference["mean"] < difference["high"]
    assert difference["mean"] == pytest.approx(second["regret"]["mean"] - first["regret"]["mean"])
    curve = first["curve"]
    assert curve["round"][0] == 1
    assert curve["round"][-1] == 100
    assert curve["cumulative_regret"][-1] == pytest.approx(first["regret"]["mean"])
    assert curve["cumulative_reward"][-1] == pytest.approx(100 * first["mean_reward"]["mean"])


def test_the_command_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["linucb", "uniform"], seeds=1) == 0
    shown = capsys.readouterr().out
    assert "linear: 100 rounds, 1 seed" in shown
    assert "--seeds 10 gives intervals" in shown


def test_the_command_ends_with_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    assert run_command(["uniform"], "iris", rounds=10_000, seeds=2, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["rounds"] == 150


@pytest.mark.parametrize(("environment", "policy"), [("liner", "linucb"), ("linear", "linuc")])
def test_what_is_misspelled_is_named(
    environment: str, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        run_command([policy], environment)
    assert min(environment, policy, key=len) in capsys.readouterr().err


def test_data_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert datasets(None, None, True) == 0
    listed = json.loads(capsys.readouterr().out)
    names = [each["name"] for each in listed["datasets"]]
    assert {"ImageSegments", "digits", "obd-random-all"} <= set(names)
    assert listed["environments"]["linear"] == {"actions": 10, "features": 5, "noise": 0.5}
    assert datasets(None, None, False) == 0
    assert "cold_start" in capsys.readouterr().out
    with pytest.raises(typer.Exit):
        datasets("iris", None, False)
    assert "is no log" in capsys.readouterr().err


def test_the_list_of_data_sets_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert datasets(None, None, False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if "…" in line or len(line) > 80]
    assert len(lines) < 50
    assert "digits, iris, wine, breast_cancer: inside scikit-learn" in "\n".join(lines)
