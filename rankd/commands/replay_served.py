"""`rankd replay --as-served`: a server's log with its recorded model versions, and what it tells of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rankd.commands.replay_show import cells
from server.fold.verify import verify_app

if TYPE_CHECKING:
    from server.fold.verify import LogSource, Verification
    from simulator.logs.served import Lag, ServedLog
    from simulator.served import AsServed, Versions

_QUANTILES = (0.5, 0.95, 1.0)


def served_summary(
    source: LogSource, log: ServedLog, ran: AsServed, alpha: float
) -> dict[str, Any]:
    """What the log tells of the models that decided, as --json has it. Every decision is made again.

    Raises:
        LogError: the log cannot be folded.
    """
    made_again = verify_app(source, log.app)
    return {
        **_counts(made_again),
        "versions": ran.versions,
        "by_version": [_group(each) for each in ran.by_version(alpha)],
        "lag": _lags(log.lags),
    }


def _counts(found: Verification) -> dict[str, Any]:
    return {
        "verified": found.verified,
        "unverifiable": found.unverifiable,
        "mismatches": found.mismatches,
        "first_mismatch": found.first_mismatch,
    }


def _group(each: Versions) -> dict[str, Any]:
    return {"first": each.first, "last": each.last, "n": each.n, "reward": asdict(each.reward)}


def _lags(lags: list[Lag]) -> dict[str, Any]:
    """Median, 95% and greatest of each kind of lag; {} where there is none."""
    found: dict[str, Any] = {}
    if not lags:
        return found
    for name, column in zip(("decisions", "rewards", "seconds"), np.array(lags).T, strict=True):
        values = np.quantile(column, _QUANTILES, method="inverted_cdf").tolist()
        found[name] = dict(zip(("median", "p95", "max"), values, strict=True))
    return found


def doubt(told: dict[str, Any]) -> str:
    """Why "as served" is not to be believed; "" where every decision was made again."""
    if told["mismatches"]:
        return f"{told['mismatches']:,} decisions are not what their models decide; the first: {told['first_mismatch']}"
    if told["unverifiable"]:
        return f"{told['unverifiable']:,} decisions could not be made again"
    return ""


def show_served(told: dict[str, Any], alpha: float) -> None:
    """The tables for a terminal."""
    console = Console()
    console.print(
        f"Decisions made again: {told['verified']:,} equal byte for byte, {told['mismatches']:,} otherwise, "
        f"{told['unverifiable']:,} out of reach; {told['versions']:,} model versions."
    )
    if told["mismatches"]:
        console.print(f"The first that is not: {told['first_mismatch']}", highlight=False)
    table = Table(title="by model version (epoch.records)", title_justify="left")
    table.add_column("versions")
    table.add_column("rows", justify="right")
    for column in ("mean reward", f"{1 - alpha:.0%} interval"):
        table.add_column(column)
    for each in told["by_version"]:
        first, last = (".".join(map(str, each[end])) for end in ("first", "last"))
        value, ends, _ = cells(each["reward"])
        table.add_row(f"{first} to {last}", f"{each['n']:,}", value, ends)
    console.print(table)
    if not told["lag"]:
        return
    lags = Table(title="how far the model was behind", title_justify="left")
    for column in ("in", "median", "95%", "most"):
        lags.add_column(column, justify="right" if column != "in" else "left")
    for name, said in (("decisions", "decisions"), ("rewards", "final rewards not known"), ("seconds", "seconds since its last record")):  # fmt: skip
        lags.add_row(
            said, *(f"{told['lag'][name][each]:,.4g}" for each in ("median", "p95", "max"))
        )
    console.print(lags)
