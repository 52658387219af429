"""What `rankd tune` found, for people: on the terminal, or as Markdown for a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from simulator.targets import FROZEN

if TYPE_CHECKING:
    from simulator.experiments import Tuning

_SHOWN = 20  # candidates on the terminal, the best first


def show(found: Tuning, alpha: float) -> None:
    console = Console(highlight=False)
    console.print(escape(_how(found)))
    interval = f"{1 - alpha:.0%} interval"
    table = Table(title="Candidates, on the rows to choose on", title_justify="left")
    for column in ("policy", "value", interval, "best in"):
        table.add_column(column)
    rows = _candidates(found)
    for cells in rows[:_SHOWN]:
        table.add_row(*map(escape, cells))
    console.print(table)
    if len(rows) > _SHOWN:
        console.print(f"and {len(rows) - _SHOWN} more: --json or --report has all of them.")
    table = Table(title=_title(found), title_justify="left")
    for column in ("policy", "value", "minus the log", "winner minus it"):
        table.add_column(column)
    for cells in _valued(found, "\n"):
        table.add_row(*map(escape, cells))
    console.print(table)
    console.print(escape(_luck(found)))


def markdown(found: Tuning, log: str) -> str:
    """The same as Markdown."""
    lines = [
        f"### Settings chosen on {Path(log).name}",
        "",
        _how(found),
        "",
        f"**{_title(found)}**",
        "",
        "| policy | value | minus the log | winner minus it |",
        "|---|---|---|---|",
        *(_row(cells) for cells in _valued(found)),
        "",
        _luck(found),
        "",
        "<details><summary>All candidates, on the rows to choose on</summary>",
        "",
        "| policy | value | interval | best in |",
        "|---|---|---|---|",
        *(_row(cells) for cells in _candidates(found)),
        "",
        "</details>",
        "",
    ]
    return "\n".join(lines)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _how(found: Tuning) -> str:
    what = (
        "frozen where the part that is valued begins"
        if found.estimand == FROZEN
        else "trained on the log as it went, which is not what they would earn live"
    )
    low, high = found.reward_range
    count = f"Rewards lie between {low:g} and {high:g}. {len(found.candidates)} candidates, {what}, compared by {found.estimator}"
    if found.optimistic:
        return f"{count} on {found.chosen_on:,} rows, and valued on the same rows."
    left = (
        f" {found.left_out:,} rewards of decisions before the cut came after it, and count for neither."
        if found.left_out
        else ""
    )
    return (
        f"{count} on {found.chosen_on:,} rows, before decision {found.cut + 1:,} of {found.decided:,}; "
        f"valued on the {found.valued_on:,} rows after it.{left}"
    )


def _title(found: Tuning) -> str:
    if found.optimistic:
        return "OPTIMISTIC: the best, on the rows that it was chosen on"
    return "The best, on rows that had no part in choosing it"


def _luck(found: Tuning) -> str:
    winner = found.policies[0]
    chance = next(each.chance_best for each in found.candidates if each.policy == winner.policy)
    text = (
        f"Luck: {winner.policy} would be the best of {len(found.candidates)} in {chance:.0%} of such logs; having been chosen "
        f"makes its value there about {found.optimism:.2g} too high"
    )
    if found.optimistic:
        return text + ", and that is the value shown above."
    if winner.estimate["value"] is None:
        return f"{text}."
    there, here = winner.when_chosen, winner
    return (
        f"{text}. It was {there.estimate['value']:.5g} where it was chosen ({there.vs_logged['value']:+.5g} against the log), and is "
        f"{here.estimate['value']:.5g} where it was not ({here.vs_logged['value']:+.5g})."
    )


def _candidates(found: Tuning) -> list[tuple[str, ...]]:
    """The best first, those that were refused last."""

    def key(place: int) -> tuple[bool, float, int]:
        value = found.candidates[place].estimate["value"]
        return value is None, -(value or 0.0), place

    rows: list[tuple[str, ...]] = []
    for place in sorted(range(len(found.candidates)), key=key):
        each = found.candidates[place]
        estimate = each.estimate
        if estimate["value"] is None:
            rows.append((each.policy, "refused", estimate["reason"], ""))
        else:
            rows.append(
                (each.policy, _value(estimate), _interval(estimate), f"{each.chance_best:.0%}")
            )
    return rows


def _valued(found: Tuning, between: str = " ") -> list[tuple[str, ...]]:
    """Cells of a row each; `between` a value and its interval."""

    def both(estimate: dict[str, Any]) -> str:
        if estimate["value"] is None:
            return f"refused: {estimate['reason']}"
        interval = _interval(estimate)
        return _value(estimate) + (f"{between}({interval})" if interval else "")

    logged = found.logged
    rows: list[tuple[str, ...]] = [
        (
            f"{each.policy}{between}({each.role})",
            both(each.estimate),
            both(each.vs_logged),
            "" if each.winner_minus is None else both(each.winner_minus),
        )
        for each in found.policies
    ]
    return [*rows, ("the log", both(logged), "", "")]


def _value(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.5g}" + (
        "" if estimate["identifiable"] else " (not to be believed)"
    )


def _interval(estimate: dict[str, Any]) -> str:
    low, high = estimate["low"], estimate["high"]
    return "" if low is None else f"{low:.5g} to {high:.5g}"
