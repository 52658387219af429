"""A report of policies that lived through a log (`simulator.online`): estimates, differences from the log, and their learning curves
in one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.life import Online, estimate, versus
from simulator.reports import curves, figures, page, words
from simulator.reports.curves import Curve
from simulator.reports.figures import Forest, Line, Lines, Row
from simulator.reports.table import plain, row

if TYPE_CHECKING:
    from simulator.life import Refused
    from simulator.reports.figures import Figure
    from simulator.reports.given import LivesInput

COLOURS = 6  # that can be told apart; further policies are left out of the curves
COLUMNS = ("policy", "by", "value", "interval", "minus the log", "rounds", "rows accepted")

LIVE = "What it would earn live in so many rounds, beginning untrained; more rounds have another value."


def all_of(report: LivesInput) -> list[Figure]:
    """Every figure that there is."""
    found: list[Figure] = [_estimates(report), _differences(report)]
    learning = _learning(report)
    return found if learning is None else [*found, learning]


def html(report: LivesInput) -> str:
    """The page. Names and reasons are escaped."""
    summary = (
        f"{report.decided:,} decisions, {report.rows:,} of them with a final reward, which is "
        f"{words.number(report.logged.value)} on average. {LIVE}"
    )
    said = [(each.name, _headline(each), isinstance(each, Online)) for each in report.policies]
    sections = [(figure.key, figure.title, [page.figure(figure)]) for figure in all_of(report)]
    rows = [[*cells] for cells in _cells(report)]
    table = page.table("All policies", COLUMNS, rows)
    sections[0][2].append(table)
    return page.document(f"Replay of {report.log}, online", summary, said, sections)


def markdown(report: LivesInput) -> str:
    """One row for each policy; what the figures mean stands below."""
    ends = words.interval(report.logged)
    own = words.number(report.logged.value) + (f" ({ends})" if ends else "")
    lines = [
        f"**Replay of {plain(report.log)}, online**: {report.rows:,} rows, whose own mean reward is {own}. {LIVE}",
        "",
        row(COLUMNS),
        row(("---", "---", "---:", "---", "---", "---:", "---:")),
        *(row(tuple(map(plain, cells))) for cells in _cells(report)),
        "",
        *(f"- {plain(each.name)}: {plain(_headline(each))}" for each in report.policies),
        "",
        f"Intervals are at {report.level}.",
        "",
    ]
    return "\n".join(lines)


def _cells(report: LivesInput) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for each in report.policies:
        if not isinstance(each, Online):
            found.append((each.name, each.method, "refused", each.reason, "", "", ""))
            continue
        value, more = estimate(each), versus(each, report.alpha)
        found.append(
            (
                each.name,
                each.method,
                words.number(each.value),
                words.interval(value),
                f"{words.signed(more.value or 0.0)} ({words.interval(more, words.signed)})",
                f"{each.rounds:,}",
                f"{each.acceptance:.1%}",
            )
        )
    return found


def _headline(found: Online | Refused) -> str:
    if not isinstance(found, Online):
        return f"this log cannot tell what it would earn live. {words.sentence(found.reason)}"
    ends = words.interval(estimate(found))
    lives = (
        "one life, and the interval is of that life's path"
        if found.lives == 1
        else f"the mean of {found.lives} lives"
    )
    cut = (
        f" {found.cut:.1%} of what it would do was done too seldom to be learned as often as live."
        if found.cut > 0
        else ""
    )
    return (
        f"live, it would earn {words.number(found.value)} ({ends}) per decision in its first {found.rounds:,} rounds: "
        f"{lives}.{cut}"
    )


def _estimates(report: LivesInput) -> Forest:
    rows = [figures.answer(each.name, estimate(each)) for each in report.policies]
    rows += [Row("the log itself"), figures.answer("mean reward", report.logged)]
    return Forest(
        "estimates",
        "What each would earn live",
        f"Forest plot: the mean reward of {len(report.policies)} policies in their first rounds, and the log's own. "
        "The same figures are in the table.",
        f"{LIVE} Bars are {report.level} intervals. The dashed line is the log's own mean reward.",
        rows,
        "reward per decision",
        report.logged.value,
    )


def _differences(report: LivesInput) -> Forest:
    rows = [
        figures.answer(each.name, versus(each, report.alpha), words.signed)
        for each in report.policies
    ]
    return Forest(
        "differences",
        "Minus the log",
        "Forest plot: by how much each policy, in its first rounds, differs from the log's own mean reward.",
        f"Paired row by row, {report.level} intervals along the paths that were learned. A learner at its beginning is compared with a "
        "log that may have been learning for longer.",
        rows,
        "difference in reward per decision",
        0.0,
    )


def _learning(report: LivesInput) -> Lines | None:
    """The mean of the accepted rewards so far, all policies over one axis."""
    lived = [each for each in report.policies if isinstance(each, Online)]
    if not lived:
        return None
    drawn = sorted(lived[: COLOURS - 1], key=lambda each: len(each.curve), reverse=True)
    lines = []
    for colour, each in enumerate(drawn):
        earned = np.diff(each.curve, prepend=0.0)
        curve = curves.running_mean(earned, report.alpha)
        lines.append(Line(words.shorten(each.name, 11), curve, colour))
    ends = ", ".join(f"{each.name} {words.number(each.curve[-1] / len(each.curve))}" for each in drawn)  # fmt: skip
    x = lines[0].curve.x[[0, -1]]
    own, bare = np.full(2, report.logged.value or 0.0), np.full(2, np.nan)
    lines.append(Line("the log", Curve(x, own, bare, bare), COLOURS - 1, dashed=True))
    return Lines(
        "learning",
        "Learning curves of accepted rounds",
        f"Mean reward of the accepted rounds so far; at the end: {ends}.",
        f"The mean of the rewards of the rounds that each lived through so far, with {report.level} normal bands, right at each "
        "point alone; how much one life differs from the next is in the intervals above, not here. The dashed line is the log's own mean reward.",
        lines,
        "rounds lived",
        "mean reward so far",
        curves.view([line.curve for line in lines]),
    )
