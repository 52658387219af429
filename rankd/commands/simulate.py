"""`rankd simulate`: how policies learn in a world whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Sized
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from policies import ModelSpec, PolicyError
from rankd.commands import check_report, fail
from rankd.commands.progress import bar
from rankd.commands.replay_report import write_world
from simulator.environments import EnvironmentSpecError, environment_of
from simulator.experiments import Play, StoreError, data_digest, run
from simulator.reports import LearnedInput, WorldInput
from simulator.simulation import spread
from simulator.specs import policy_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from simulator.simulation import Spread


def simulate(
    environment: str,
    specs: Sequence[str],
    *,
    rounds: int,
    seeds: int,
    min_exploration: float,
    standardise: bool,
    cache: Path | None,
    as_json: bool,
    jobs: int = 1,
    resume: Path | None = None,
    report: Path | None = None,
    plots: Path | None = None,
) -> int:
    """Plays every policy over seeds 1, 2 ... and compares each with the first."""
    check_report(report, (".html", ".md"))
    try:
        world = environment_of(environment, cache)
        policies = [policy_of(spec) for spec in specs]
        for policy in policies:  # what cannot be played is said before the first round
            ModelSpec(policy, standardise, min_exploration, world.reward_range).build()
        if isinstance(world, Sized):  # data sets end, others go on for ever
            rounds = min(rounds, len(world))
        shared: dict[str, Any] = {
            "environment": environment,
            "rounds": rounds,
            "standardise": standardise,
            "min_exploration": min_exploration,
            "data": data_digest(world),
        }
        trials = [
            Play(policy=policy, seed=seed, cache=cache, **shared)
            for seed in range(1, seeds + 1)
            for policy in policies
        ]
        total = rounds * len(trials)
        with bar("rounds", hidden=as_json) as tell:
            found = run(
                trials,
                experiment={"kind": "simulate", **shared},
                folder=resume,
                jobs=jobs,
                progress=lambda done: tell(done * rounds, total),
            )
    except (EnvironmentSpecError, PolicyError, StoreError, OSError) as error:
        fail(str(error))
    each = len(specs)
    runs = [found[s : s + each] for s in range(0, len(found), each)]
    if report is not None or plots is not None:
        write_world(_given(environment, specs, runs), report, plots)
    summary = _report(environment, specs, runs)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        _show(summary)
    return 0


def _report(
    environment: str, specs: Sequence[str], runs: list[list[dict[str, Any]]]
) -> dict[str, Any]:
    """As --json has it; runs [S][P] are Play's results."""
    regrets = np.array([[run["regret"] for run in each] for each in runs])  # [S, P]
    rewards = np.array([[run["reward"] for run in each] for each in runs])  # [S, P]
    rows = []
    for p, spec in enumerate(specs):
        curves = [each[p]["curve"] for each in runs]
        row = {
            "policy": spec,
            "mean_reward": _plain(spread(rewards[:, p])),
            "regret": _plain(spread(regrets[:, p])),
            "curve": {
                "round": curves[0]["round"],
                "cumulative_reward": _mean([curve["reward"] for curve in curves]),
                "cumulative_regret": _mean([curve["regret"] for curve in curves]),
            },
        }
        if p:
            row["regret_minus_first"] = _plain(spread(regrets[:, p] - regrets[:, 0]))
            row["mean_reward_minus_first"] = _plain(spread(rewards[:, p] - rewards[:, 0]))
        rows.append(row)
    seeds = list(range(1, len(runs) + 1))
    rounds = runs[0][0]["rounds"]
    return {"environment": environment, "rounds": rounds, "seeds": seeds, "policies": rows}


def _given(environment: str, specs: Sequence[str], runs: list[list[dict[str, Any]]]) -> WorldInput:
    """What reports are made from; runs [S][P] are Play's results."""
    policies = []
    for p, spec in enumerate(specs):
        kept = [each[p]["curve"] for each in runs]
        rounds, *_ = (np.array(curve["round"], np.float64) for curve in kept)
        reward, regret = (np.array([curve[of] for curve in kept]) for of in ("reward", "regret"))
        policies.append(LearnedInput(spec, rounds, reward, regret))
    return WorldInput(environment, policies)


def _mean(curves: list[list[float]]) -> list[float]:
    """The mean over seeds at each point."""
    found: list[float] = np.mean(curves, axis=0).tolist()
    return found


def _plain(found: Spread) -> dict[str, float | None]:
    return found._asdict()


def _show(report: dict[str, Any]) -> None:
    seeds = len(report["seeds"])
    title = f"{report['environment']}: {report['rounds']:,} rounds, {seeds} seed{'s' * (seeds > 1)}"
    table = Table(title=title, title_justify="left")
    table.add_column("policy")
    for column in ("mean reward", "regret (95%)", "regret minus the first's (95%, paired)"):
        table.add_column(column, justify="right")
    for row in report["policies"]:
        difference = row.get("regret_minus_first")
        table.add_row(
            row["policy"],
            f"{row['mean_reward']['mean']:.4f}",
            _interval(row["regret"]),
            _interval(difference) if difference else "",
        )
    console = Console()
    console.print(table)
    if seeds < 2:
        console.print("One seed tells little: --seeds 10 gives intervals.")


def _interval(found: dict[str, float | None]) -> str:
    text = f"{found['mean']:,.1f}"
    if found["low"] is None:
        return text
    return f"{text} ({found['low']:,.1f} to {found['high']:,.1f})"
