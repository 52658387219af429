"""`rankd replay --estimand online`: what policies would earn live, in as many rounds as the log has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from rankd.commands.replay_show import cells, the_log

if TYPE_CHECKING:
    from collections.abc import Sequence


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
