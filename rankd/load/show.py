"""The table that `rankd load` shows while it runs and at its end, and its JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rankd.commands import plain
from rankd.load.tally import PERCENTILES

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rankd.load.histogram import Histogram
    from rankd.load.plan import Plan
    from rankd.load.run import Progress

# Sending late by this much (milliseconds, 99th percentile) is worth a word: it is in the latencies.
_LATE_MS = 5.0


def page(plan: Plan, progress: Progress, processes: int) -> RenderableType:
    """What there is so far."""
    tally, seconds = progress.tally, progress.seconds
    how = f"{plan.closed} in flight" if plan.closed else f"{plan.rate:g} calls a second, open loop"
    head = (
        f"{plan.target}: {how}, {plan.actions} actions, {plan.features} numbers each; "
        f"{max(0.0, seconds):.0f} of {plan.seconds:g} s"
    )
    table = Table(box=None, pad_edge=False)
    for name in ("", "answered", "a second", *(f"p{q:g} ms" for q in PERCENTILES), "max ms"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("Rank", *_figures(tally.rank, seconds))
    if plan.rewards:
        table.add_row("Reward", *_figures(tally.reward, seconds))
    lines: list[RenderableType] = [Text(head), table]
    for name, count in sorted(tally.errors.items()):
        lines.append(Text(f"{count:,} x {name}: {plain(tally.messages[name])}", style="red"))
    late = tally.late.percentile(99) / 1000
    if late > _LATE_MS:
        lines.append(
            Text(
                f"calls were sent up to {late:.1f} ms late (p99), which their latencies include: this machine is too busy for "
                f"that rate with {processes} process{'es' * (processes > 1)} (--processes)"
            )
        )
    return Group(*lines)


def _figures(found: Histogram, seconds: float) -> list[str]:
    if not found.total:
        return ["0"]
    times = [*found.percentiles(list(PERCENTILES)), found.max]
    rate = f"{found.total / seconds:,.0f}" if seconds > 0 else ""
    return [f"{found.total:,}", rate, *(f"{us / 1000:.2f}" for us in times)]


def as_json(plan: Plan, progress: Progress, processes: int) -> dict[str, Any]:
    """Times in milliseconds, rates a second."""
    tally = progress.tally
    return {
        "target": plan.target,
        "app": plan.app,
        "loop": "closed" if plan.closed else "open",
        "rate_asked": None if plan.closed else plan.rate,
        "concurrency": plan.closed or None,
        "actions": plan.actions,
        "features": plan.features,
        "connections": plan.connections,
        "processes": processes,
        "seconds": round(progress.seconds, 3),
        "rank": _latencies(tally.rank, progress.seconds),
        "reward": _latencies(tally.reward, progress.seconds) if plan.rewards else None,
        "errors": dict(sorted(tally.errors.items())),
        "sent_late_p99_ms": None if plan.closed else tally.late.percentile(99) / 1000,
    }


def _latencies(found: Histogram, seconds: float) -> dict[str, Any]:
    times = found.percentiles(list(PERCENTILES))
    return {
        "answered": found.total,
        "rate": round(found.total / seconds, 1) if seconds > 0 else 0.0,
        "mean_ms": round(found.mean / 1000, 3),
        **{f"p{q:g}_ms": us / 1000 for q, us in zip(PERCENTILES, times, strict=True)},
        "max_ms": found.max / 1000,
    }
