"""`rankd replay --estimand online`: what policies would earn live, in as many rounds as the log has for them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from policies import ModelSpec
from rankd.commands.replay_show import cells, the_log
from simulator.evaluation import mean
from simulator.life import Online, Refused, average
from simulator.logs import Decided, DsjsonLog
from simulator.online import Live, lives
from simulator.reports.lives import LivesInput, estimate, versus
from simulator.specs import policy_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Sequence

    from policies.model import Model
    from simulator.logs import Event, Log
    from simulator.online import Player


class _Heard:
    """A log that remembers what it told."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.name = log.name
        self.reward_range = log.reward_range
        self.counters: Counter[str] = log.counters
        self.decided = 0
        self.rewards: list[float] = []

    def __iter__(self) -> Iterator[Event]:
        for event in self._log:
            if isinstance(event, Decided):
                self.decided += 1
            else:
                self.rewards.append(event.reward)
            yield event


def live(
    log: Log,
    name: str,
    specs: Sequence[str],
    settings: dict[str, Any],
    reward_model: Model | None,
    *,
    seeds: int,
    alpha: float,
    progress: Callable[[int], None],
) -> LivesInput:
    """Lets every policy live through the log `seeds` times, in one pass.

    Raises:
        PolicyError: a policy's settings are wrong.
        ValueError: the log is not what its format says, or the reward model expects no rewards.
    """
    salts = [b"online" if seed == 0 else b"online %d" % seed for seed in range(seeds)]
    players = [_player(spec, settings, log, salt) for spec in specs for salt in salts]
    heard = _Heard(log)
    found = lives(heard, players, reward_model, alpha=alpha, progress=progress)
    each = [_one(found[k : k + seeds], alpha) for k in range(0, len(found), seeds)]
    rewards = np.array(heard.rewards)
    own = mean(rewards, alpha)
    return LivesInput(name, own, each, heard.decided, len(rewards), alpha)


def _player(spec: str, settings: dict[str, Any], log: Log, salt: bytes) -> Player:
    name, _, args = spec.partition(":")
    if name == "vw" and args and isinstance(log, DsjsonLog):
        from simulator.vw_dsjson import VwLive

        return VwLive(spec, args, salt)
    return Live(spec, ModelSpec(policy_of(spec), **settings), salt)


def _one(found: Sequence[Online | Refused], alpha: float) -> Online | Refused:
    """Of one policy's lives. One that was refused might have gone either way, so the others are not taken for all."""
    told = [each for each in found if isinstance(each, Online)]
    refused = [each for each in found if isinstance(each, Refused)]
    return refused[0] if refused else average(told, alpha)


def online_summary(report: LivesInput, seconds: float) -> dict[str, Any]:
    """As --json has it."""
    own = report.logged
    rows = []
    for each in report.policies:
        row: dict[str, Any] = {"policy": each.name, "n": report.rows, "estimand": each.estimand}
        row["estimators"] = {each.method: asdict(estimate(each))}
        row["vs_logged"] = asdict(versus(each, report.alpha))
        lived = isinstance(each, Online)
        for what in ("rounds", "acceptance", "cut", "lives"):
            row[what] = getattr(each, what) if lived else None
        rows.append({**row, "seconds": seconds})
    summary: dict[str, Any] = {
        "logged": {"value": own.value, "low": own.low, "high": own.high, "n": report.rows}
    }
    return {**summary, "decisions": report.decided, "policies": rows}


def show_online(told: dict[str, Any], alpha: float) -> None:
    """The table for a terminal."""
    console = Console()
    console.print(the_log(told["decisions"], told["logged"]))
    table = Table(title="live, beginning untrained, in so many rounds", title_justify="left")
    table.add_column("policy")
    for column in ("value", f"{1 - alpha:.0%} interval", "minus the log"):
        table.add_column(column, no_wrap=True)
    table.add_column("rounds (of rows), by")
    for row in told["policies"]:
        ((method, each),) = row["estimators"].items()
        if each["value"] is None:
            console.print(
                f"{row['policy']}: this log cannot tell. {each['reason']}.", highlight=False
            )
            continue
        value, ends, _ = cells(each)
        more, between, _ = cells(row["vs_logged"])
        rounds = f"{row['rounds']:,} ({row['acceptance']:.0%}), {method}"
        table.add_row(row["policy"], value, ends, f"{more}\n{between}", rounds)
    if table.row_count:
        console.print(table)
    console.print(_means(told["policies"]))


def _means(rows: Sequence[dict[str, Any]]) -> str:
    lives = max((row["lives"] or 0 for row in rows), default=0)
    if lives == 0:
        return ""
    if lives == 1:
        return "One life: its interval is of the path that was learned. --seeds 5 gives one for the mean over lives."
    return (
        f"Means of {lives} lives through the log; the intervals are for the mean over many lives."
    )
