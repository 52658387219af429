"""`rankd simulate`: how policies learn in a world whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Sized
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from policies import ModelSpec, PolicyError
from rankd.commands import fail
from simulator.environments import EnvironmentSpecError, environment_of
from simulator.simulate import simulate as play
from simulator.simulate import spread
from simulator.specs import policy_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from simulator.environments import Environment
    from simulator.simulate import Run, Spread

_POINTS = 100  # of a curve in JSON


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
) -> int:
    """Plays every policy over seeds 1, 2 ... and compares each with the first."""
    try:
        world = environment_of(environment, cache)
        policies = [
            (
                spec,
                ModelSpec(policy_of(spec), standardise, min_exploration, world.reward_range),
            )
            for spec in specs
        ]
        runs = _play(world, policies, rounds, seeds, hidden=as_json)
    except (EnvironmentSpecError, PolicyError, OSError) as error:
        fail(str(error))
    report = _report(environment, runs)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _show(report)
    return 0


def _play(
    world: Environment,
    policies: Sequence[tuple[str, ModelSpec]],
    rounds: int,
    seeds: int,
    *,
    hidden: bool,
) -> list[list[Run]]:
    """The runs of each seed."""
    if isinstance(world, Sized):  # data sets end, others go on for ever
        rounds = min(rounds, len(world))
    found = []
    with _progress(hidden=hidden) as progress:
        task = progress.add_task("rounds", total=rounds * seeds)
        for s in range(seeds):
            base = s * rounds
            found.append(
                play(
                    world,
                    policies,
                    rounds,
                    s + 1,
                    lambda n, base=base: progress.update(task, completed=base + n),  # type: ignore[misc]
                )
            )
    return found


def _progress(*, hidden: bool) -> Progress:
    return Progress(
        TextColumn("rounds"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=hidden,
    )


def _report(environment: str, runs: list[list[Run]]) -> dict[str, Any]:
    rounds = len(runs[0][0].reward)
    regrets = np.array([[run.regret.sum() for run in each] for each in runs])  # [S, P]
    rewards = np.array([[run.reward.mean() for run in each] for each in runs])  # [S, P]
    points = np.unique(np.linspace(0, rounds - 1, min(rounds, _POINTS)).astype(np.intp))
    rows = []
    for p, run in enumerate(runs[0]):
        row = {
            "policy": run.policy,
            "mean_reward": _plain(spread(rewards[:, p])),
            "regret": _plain(spread(regrets[:, p])),
            "curve": {
                "round": (points + 1).tolist(),
                "cumulative_reward": _curve([each[p].cumulative_reward for each in runs], points),
                "cumulative_regret": _curve([each[p].cumulative_regret for each in runs], points),
            },
        }
        if p:
            row["regret_minus_first"] = _plain(spread(regrets[:, p] - regrets[:, 0]))
            row["mean_reward_minus_first"] = _plain(spread(rewards[:, p] - rewards[:, 0]))
        rows.append(row)
    seeds = list(range(1, len(runs) + 1))
    return {"environment": environment, "rounds": rounds, "seeds": seeds, "policies": rows}


def _curve(curves: list[NDArray[np.float64]], points: NDArray[np.intp]) -> list[float]:
    """The mean over seeds at each point."""
    found: list[float] = np.mean(curves, axis=0)[points].tolist()
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
