"""What `rankd replay` shows on a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from simulator.targets import AS_SERVED, FROZEN, TRAINED_ON_LOG

if TYPE_CHECKING:
    from simulator.replay import Pass


_HOW = {
    FROZEN: "as it was, frozen",
    TRAINED_ON_LOG: "trained on the log as it went, which is not what it would earn live",
    AS_SERVED: "what ran, and earned this",
}


def show(report: dict[str, Any], found: Pass, alpha: float) -> None:
    console = Console()
    console.print(the_log(found.decided, report["logged"]))
    for row in report["policies"]:
        what = _HOW[row["estimand"]]
        table = Table(title=f"{row['policy']}: {what}", title_justify="left")
        for column in ("estimator", "value", f"{1 - alpha:.0%} interval"):
            table.add_column(column, no_wrap=True)
        table.add_column("by")
        reasons = {each["reason"] for each in row["estimators"].values()}
        if len(reasons) == 1 and all(
            not each["identifiable"] for each in row["estimators"].values()
        ):
            console.print(
                f"{row['policy']}: this log cannot tell. {reasons.pop()}.", highlight=False
            )
            if all(each["value"] is None for each in row["estimators"].values()):
                continue
        for name, each in row["estimators"].items():
            table.add_row(each["setting"] or name, *cells(each))
        table.add_row("minus the log", *cells(row["vs_logged"]), style="bold")
        if "vs_first" in row:
            table.add_row("minus the first policy", *cells(row["vs_first"]), style="bold")
        console.print(table)
        for name, each in row["estimators"].items():
            if each["reason"] and each["interval"] and each["identifiable"]:
                console.print(f"{name}: {each['reason']}.", highlight=False)
        console.print(
            f"worth {_known(row['ess'], 0.0):,.0f} rows of its own; greatest weight "
            f"{_known(row['max_weight'], math.inf):.3g}, mean {_known(row['mean_weight'], math.nan):.3f}\n"
        )


def _known(value: float | None, otherwise: float) -> float:
    """A number that JSON may not have had."""
    return otherwise if value is None else value


def cells(each: dict[str, Any]) -> tuple[str, str, str]:
    """Value, interval, and the interval's method or why there is no value."""
    if each["value"] is None:
        return "refused", "", each["reason"]
    value = f"{each['value']:.5g}" + ("" if each["identifiable"] else " (not to be believed)")
    low, high = each["low"], each["high"]
    return (
        value,
        "" if low is None else f"{low:.5g} to {high:.5g}",
        each["interval"] or each["reason"],
    )


def the_log(decided: int, own: dict[str, Any]) -> str:
    """What the log itself earned."""
    return f"The log: {decided:,} decisions, {own['n']:,} with a final reward, which is {_interval(own)} on average."


def _interval(own: dict[str, Any]) -> str:
    if own["low"] is None:
        return f"{own['value']:.5g}"
    return f"{own['value']:.5g} ({own['low']:.5g} to {own['high']:.5g})"
