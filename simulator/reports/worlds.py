"""A report of policies that learned live in a world whose truth is known (`simulator.simulation`): regret and learning curves, with bands over
seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.evaluation import Estimate
from simulator.reports import curves, figures, page, words
from simulator.reports.curves import Curve
from simulator.reports.figures import Forest, Line, Lines
from simulator.reports.lives import COLOURS
from simulator.reports.table import plain, row
from simulator.simulation import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from simulator.reports.figures import Figure
    from simulator.reports.given import LearnedInput, WorldInput

COLUMNS = ("policy", "mean reward", "regret", "regret minus the first's")


def all_of(report: WorldInput) -> list[Figure]:
    """Every figure that there is."""
    found: list[Figure] = [_regrets(report)]
    if len(report.policies) > 1:
        found.append(_differences(report))
    return [*found, *_learning(report)]


def html(report: WorldInput) -> str:
    """The page. Names are escaped."""
    said = [(each.name, _headline(report, each), True) for each in report.policies]
    sections = [(figure.key, figure.title, [page.figure(figure)]) for figure in all_of(report)]
    sections[0][2].append(page.table("All policies", COLUMNS, [[*c] for c in _cells(report)]))
    return page.document(f"Simulation of {report.environment}", _summary(report), said, sections)


def markdown(report: WorldInput) -> str:
    """One row for each policy; what the figures mean stands below."""
    lines = [
        f"**Simulation of {plain(report.environment)}**: {_summary(report)}",
        "",
        row(COLUMNS),
        row(("---", "---:", "---:", "---:")),
        *(row(tuple(map(plain, cells))) for cells in _cells(report)),
        "",
        f"Intervals are at {report.level}, over seeds; differences are paired by seed.",
        "",
    ]
    return "\n".join(lines)


def _summary(report: WorldInput) -> str:
    seeds = report.seeds
    return (
        f"{report.rounds:,} rounds, played live with {seeds} seed{'s' * (seeds > 1)}. Regret is what the best action of each round would "
        "have earned more, summed over the rounds."
        + (" One seed tells no interval." if seeds < 2 else "")
    )


def _headline(report: WorldInput, policy: LearnedInput) -> str:
    regret = _estimate(policy.regret[:, -1], report.alpha)
    text = f"mean reward {_spelt(_mean_reward(report, policy))}, regret {_spelt(regret)} over {report.rounds:,} rounds"
    first = report.policies[0]
    if policy is first:
        return f"{text}."
    versus = _versus(report, policy)
    return f"{text}; minus that of {first.name}: {_spelt(versus, sign=True)}."


def _cells(report: WorldInput) -> list[tuple[str, ...]]:
    return [
        (
            each.name,
            _spelt(_mean_reward(report, each)),
            _spelt(_estimate(each.regret[:, -1], report.alpha)),
            _spelt(_versus(report, each), sign=True) if i else "",
        )
        for i, each in enumerate(report.policies)
    ]


def _regrets(report: WorldInput) -> Forest:
    rows = [
        figures.answer(each.name, _estimate(each.regret[:, -1], report.alpha))
        for each in report.policies
    ]
    return Forest(
        "regret",
        "Regret",
        f"Forest plot: the regret of {len(rows)} policies after {report.rounds:,} rounds. The same figures are in the table.",
        f"Of {report.rounds:,} rounds; bars are {report.level} intervals over seeds.",
        rows,
        "regret",
        None,
    )


def _differences(report: WorldInput) -> Forest:
    first, *others = report.policies
    rows = [figures.answer(each.name, _versus(report, each), words.signed) for each in others]
    return Forest(
        "differences",
        "Regret minus the first policy's",
        f"Forest plot: by how much the regret of {len(rows)} policies differs from the first one's. The same figures are in the table.",
        f"Paired by seed, {report.level} intervals; one that holds 0 may be chance. The first policy is {words.shorten(first.name, 60)}.",
        rows,
        "difference in regret",
        0.0,
    )


def _learning(report: WorldInput) -> tuple[Lines, Lines]:
    """Regret, and the mean reward so far, over the rounds."""
    drawn = report.policies[:COLOURS]
    regrets, means = [], []
    for colour, each in enumerate(drawn):
        name = words.shorten(each.name, 11)
        regrets.append(Line(name, _curve(each.round, each.regret, report.alpha), colour))
        means.append(Line(name, _curve(each.round, each.reward / each.round, report.alpha), colour))
    band = f"Means over {report.seeds} seeds with {report.level} bands, right at each point alone."
    if report.seeds < 2:
        band = "Of one seed, so without a band."
    if len(drawn) < len(report.policies):
        band += f" The first {len(drawn)} policies are drawn."
    curved = [line.curve for line in regrets]
    ends = np.concatenate([part for each in curved for part in (each.y, each.low, each.high)])
    ends = ends[np.isfinite(ends)]
    return (
        Lines(
            "cumulative-regret",
            "Regret so far",
            f"Regret so far over {report.rounds:,} rounds; at the end: {_ends(regrets)}.",
            f"{band} Where a curve is flat, the best action is always taken; a floor of exploration keeps every curve rising.",
            regrets,
            "rounds so far",
            "regret so far",
            (min(0.0, float(ends.min())), float(ends.max())),
        ),
        Lines(
            "learning",
            "Learning curves",
            f"Mean reward so far over {report.rounds:,} rounds; at the end: {_ends(means)}.",
            band,
            means,
            "rounds so far",
            "mean reward so far",
            curves.view([line.curve for line in means]),
        ),
    )


def _curve(rounds: NDArray[np.float64], values: NDArray[np.float64], alpha: float) -> Curve:
    """Of values [S, n]: the mean over seeds, with Student's t band."""
    found = [_estimate(column, alpha) for column in values.T]
    y, low, high = (
        np.array([getattr(each, end) for each in found], np.float64)  # None is NaN
        for end in ("value", "low", "high")
    )
    return Curve(rounds, y, low, high)


def _mean_reward(report: WorldInput, policy: LearnedInput) -> Estimate:
    return _estimate(policy.reward[:, -1] / report.rounds, report.alpha)


def _versus(report: WorldInput, policy: LearnedInput) -> Estimate:
    first = report.policies[0]
    return _estimate(policy.regret[:, -1] - first.regret[:, -1], report.alpha)


def _estimate(values: NDArray[np.float64], alpha: float) -> Estimate:
    """Of values [S], one for each seed."""
    mean, low, high = spread(values, alpha)
    by = "" if low is None else "Student t"
    return Estimate(mean, low, high, by, True, "", n=len(values))


def _spelt(estimate: Estimate, *, sign: bool = False) -> str:
    spell = words.signed if sign else words.number
    ends = words.interval(estimate, spell)
    assert estimate.value is not None
    return spell(estimate.value) + (f" ({ends})" if ends else "")


def _ends(lines: Sequence[Line]) -> str:
    return ", ".join(f"{each.name} {words.number(float(each.curve.y[-1]))}" for each in lines)
