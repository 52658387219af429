"""What the demo found: for people, and as one JSON object."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from rankd.demo.offline import Valuation
    from rankd.demo.stream import Progress
    from server.fold.verify import Verification

LAST = 500  # rounds; what has been learned by the end


@dataclass(frozen=True, slots=True)
class Result:
    """The keys of `rankd demo --json`, in this order. Rewards are means over all rounds, unless named otherwise."""

    rounds: int
    reward_mean: float
    reward_mean_last_500: float
    uniform: float  # what uniform-random earns on average
    full_information: float  # the online classifier that is told every label
    ips: float  # the model as it stood halfway, valued from the second half of the log
    ips_low: float | None  # None: this log cannot tell
    ips_high: float | None
    truth: float  # what that model would have earned there
    verified: int  # decisions
    unverifiable: int
    mismatches: int
    reward_to_model_ms_p50: float
    reward_to_model_ms_p99: float
    seconds: float  # of the whole command

    def json(self) -> str:
        """One line."""
        return json.dumps(
            {
                name: round(value, 6) if isinstance(value, float) else value
                for name, value in asdict(self).items()
            }
        )


def show(
    console: Console,
    policy: str,
    result: Result,
    progress: Progress,
    valuation: Valuation,
    verification: Verification,
) -> None:
    """Prints the result for people."""
    told = progress.full_information[-LAST:]
    rows = (
        (policy, result.reward_mean, result.reward_mean_last_500, ""),
        (
            "full information",
            result.full_information,
            sum(told) / len(told),
            "an online classifier that is told every label",
        ),
        ("uniform-random", result.uniform, result.uniform, ""),
    )
    _head(console, f"{'Mean reward':<19}{'all':>7} {f'last {len(told)}':>9}")
    for name, mean, last, why in rows:
        _line(console, f"{name:<17}{mean:>7.3f} {last:>9.3f}   {why}")
    p50, p99 = result.reward_to_model_ms_p50, result.reward_to_model_ms_p99
    _line(
        console,
        f"A reward is in the model that serves after {p50:.0f} ms (p50), {p99:.0f} ms (p99)",
    )
    _head(
        console, "Off-policy evaluation: the halfway model on the second half, from the log alone"
    )
    _valuation(console, valuation)
    _head(console, "Verify: every decision made again from the log, to the bit")
    _line(
        console,
        f"verified {verification.verified}, unverifiable {verification.unverifiable}, "
        f"mismatches {verification.mismatches}",
    )
    if verification.first_mismatch:
        _line(console, f"first: {verification.first_mismatch}")
    _head(console, f"{result.seconds:.0f} seconds in all")


def _valuation(console: Console, found: Valuation) -> None:
    interval = found.interval
    if interval is None:
        _line(console, f"IPS   {found.ips:.3f}   no interval: {found.reason}")
        _line(console, f"truth {found.truth:.3f}")
        return
    where = "inside" if interval.covers(found.truth) else "outside, as 1 truth in 20 may be"
    _line(
        console,
        f"IPS   {found.ips:.3f}   {interval.method} interval {interval.low:.3f} to {interval.high:.3f} "
        f"({found.rows:,} rows, worth {found.ess:,.0f})",
    )
    _line(console, f"truth {found.truth:.3f}   {where}; known here, because the labels are")


def show_next(console: Console, data: Path | None) -> None:
    """Prints what to type next."""
    if data is None:
        steps = [
            ("rankd demo --data-dir demo", "the same, and keep its log"),
            ("rankd demo --policy vw", "Vowpal Wabbit instead; or river"),
            ("rankd serve --data-dir data", "a service of your own"),
        ]
    else:
        folder = quote(str(data))
        steps = [
            (f"rankd verify {folder}", "make every decision once more"),
            (f"rankd log tail {folder}", "look at decisions and rewards"),
            (f"rankd serve --data-dir {folder}", "serve on, from here"),
            (f"rankd status --data-dir {folder}", "while it serves: counters, lags, what it earns"),
        ]
    width = max(len(command) for command, _ in steps)
    _head(console, "Next")
    for command, why in steps:
        _line(console, f"{command:<{width}}   {why}")


def _head(console: Console, text: str) -> None:
    console.print(f"\n{text}", style="bold", markup=False, soft_wrap=True)


def _line(console: Console, text: str) -> None:
    console.print(f"  {text.rstrip()}", markup=False, soft_wrap=True)
