"""What the figures of a report show, for any drawer: titles, texts for those who do not see them, and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.estimators import DR, IPS
from simulator.intervals import sequence
from simulator.ips import NotIdentifiable
from simulator.reports import curves, words
from simulator.reports.curves import Curve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.evaluation import Estimate
    from simulator.reports.curves import Histogram
    from simulator.reports.given import PolicyInput, ReportInput
    from simulator.sample import Sample


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a forest plot: a heading, an estimate, or a refusal with its reason."""

    label: str
    estimate: Estimate | None = None
    """None in a heading."""
    text: str = ""
    """Beside an estimate its figures; else the reason."""

    @property
    def refused(self) -> bool:
        """Whether there is a reason in the number's place."""
        return self.estimate is not None and self.estimate.value is None


@dataclass(frozen=True, slots=True)
class Forest:
    """Estimates with their intervals, one below the other."""

    key: str
    """For names of files and ids."""
    title: str
    alt: str
    caption: str
    rows: Sequence[Row]
    x_label: str
    mark: float | None
    """Where a reference line is drawn."""


@dataclass(frozen=True, slots=True)
class Line:
    """A curve with its name; the first colour is 0."""

    name: str
    curve: Curve
    colour: int
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Curves with bands over one axis."""

    key: str
    title: str
    alt: str
    caption: str
    lines: Sequence[Line]
    x_label: str
    y_label: str
    y_range: tuple[float, float]
    log_x: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """A histogram over a log axis."""

    key: str
    title: str
    alt: str
    caption: str
    histogram: Histogram
    x_label: str
    y_label: str


Figure = Forest | Lines | Bars


def estimates(report: ReportInput) -> Forest:
    """All estimates of all policies, with the log's own mean as the reference."""
    rows = []
    for policy in report.policies:
        rows.append(Row(f"{policy.name} ({words.mode(policy)})"))
        rows += _answers(policy)
    own = report.logged
    rows += [Row("the log itself"), answer("mean reward", own)]
    told = sum(not row.refused for row in rows if row.estimate is not None) - 1
    mark = "" if own.value is None else "The dashed line is the log's own mean reward. "
    return Forest(
        "estimates",
        "Estimates of value",
        f"Forest plot: {told} estimates with {report.level} intervals for {len(report.policies)} "
        "policies, and the log's own mean reward. The same figures are in the table of estimates.",
        f"{mark}Bars are {report.level} intervals. A hollow point is a number that overlap does not support.",
        rows,
        "reward per decision",
        own.value,
    )


def differences(report: ReportInput) -> Forest:
    """Of each policy to the log and to the first one."""
    first = report.policies[0].name
    rows = []
    for policy in report.policies:
        rows.append(Row(policy.name))
        rows.append(answer("minus the log", policy.evaluation.vs_logged, words.signed))
        if policy.vs_first is not None:
            rows.append(answer("minus the first", policy.vs_first, words.signed))
    return Forest(
        "differences",
        "Differences",
        f"Forest plot: by how much each policy differs from the log's own mean reward and from the first policy, "
        f"with {report.level} intervals. The same figures are in the table of differences.",
        f"Paired row by row, {report.level} intervals; one that holds 0 may be chance. "
        f"The first policy is {words.shorten(first, 60)}.",
        rows,
        "difference in reward per decision",
        0.0,
    )


def learning(report: ReportInput, policy: PolicyInput, index: int) -> Lines | None:
    """The estimate over the rows so far; None where overlap does not suffice."""
    sample = policy.sample
    if not policy.shown:
        return None
    weighted = IPS().influence(sample)
    lines, caption = [], f"IPS with {_sequence_words(report)}"
    band = _sequence(sample, report)
    if band is None:
        curve = _running(weighted, sample, report)
        caption = f"IPS with a {report.level} normal band, right at each point alone"
    else:
        curve = curves.with_band(weighted, *band)
    lines.append(Line("IPS", curve, 0))
    try:
        modelled = DR().influence(sample)
    except NotIdentifiable:
        pass  # the log was replayed without a reward model
    else:
        lines.append(Line("DR", _running(modelled, sample, report), 1))
        caption += f"; DR with a {report.level} normal band, right at each point alone"
    if sample.decision is not None:
        caption += "; bands are over decisions, as slots of one tell of each other"
    own = _running(sample.reward, sample, report)
    bare = np.full(len(own.x), np.nan)
    lines.append(Line("the log", Curve(own.x, own.y, bare, bare), 2, dashed=True))
    ends = ", ".join(f"{line.name} {words.number(float(line.curve.y[-1]))}" for line in lines)
    return Lines(
        f"learning-{index}",
        policy.name,
        f"Mean reward per decision over the {report.rows:,} rows so far; at the end: {ends}.",
        f"{caption}. The dashed line is the log's own mean reward.",
        lines,
        "rows so far, in log order",
        "mean reward so far",
        curves.view([line.curve for line in lines]),
    )


def weights(policy: PolicyInput, index: int) -> Bars:
    """How the weights are spread."""
    found = curves.histogram(policy.sample.weight)
    overlap = policy.evaluation.overlap
    zero = "No row has weight 0."
    if found.zero > 0:
        zero = f"{found.zero:.2%} of the rows have weight 0 and are not drawn."
    return Bars(
        f"weights-{index}",
        policy.name,
        f"Histogram of the weights above 0 on a log scale. Greatest weight {words.number(overlap.max_weight)}, "
        f"mean {words.number(overlap.mean_weight)}, effective sample size {words.ess(overlap)}. {zero}",
        f"{zero} {words.weights(overlap)}",
        found,
        "weight (log scale)",
        "share of rows",
    )


def clipping(report: ReportInput, policy: PolicyInput, index: int) -> tuple[Lines, Lines] | None:
    """IPS and its half-width against the clip; None where overlap does not suffice or no weight is above 1."""
    if not policy.shown:
        return None
    found = curves.clipping(policy.sample, report.alpha)
    if len(found.clip) < 2:
        return None
    value, half, bare = found.value, found.half_width, np.full(len(found.clip), np.nan)
    curve = Curve(found.clip, value, value - half, value + half)
    width = Curve(found.clip, half, bare, bare)
    low, high = (
        f"clip {words.number(float(found.clip[at]))}: {words.number(float(value[at]))} "
        f"± {words.number(float(half[at]))}, {found.clipped[at]:.1%} of the rows clipped"
        for at in (0, -1)
    )
    alt = f"IPS with weights clipped, from {low}; to {high}."
    top = float(np.nanmax(half)) if np.isfinite(half).any() else 1.0
    return (
        Lines(
            f"clipping-{index}",
            policy.name,
            alt,
            f"Clipped IPS with a {report.level} normal band; at the right end nothing is clipped. "
            f"At clip 1, {found.clipped[0]:.1%} of the rows are clipped. A line that still rises or falls at the right "
            "says that few rows carry the estimate.",
            [Line("clipped IPS", curve, 0)],
            "clip (log scale)",
            "estimate",
            _whole(curve),
            log_x=True,
        ),
        Lines(
            f"half-width-{index}",
            f"{policy.name}: half-width",
            f"Half-width of the interval, from {low}; to {high}.",
            f"Half of the width of the {report.level} normal interval. What clipping saves here it may cost in bias.",
            [Line("half-width", width, 1)],
            "clip (log scale)",
            "half-width",
            (0.0, top or 1.0),
            log_x=True,
        ),
    )


def all_of(report: ReportInput) -> list[Figure]:
    """Every figure that there is, in a report's order."""
    found: list[Figure] = [estimates(report), differences(report)]
    for index, policy in enumerate(report.policies, 1):
        curve = learning(report, policy, index)
        clipped = clipping(report, policy, index)
        found += [figure for figure in (curve, weights(policy, index)) if figure is not None]
        found += clipped or ()
    return found


def _answers(policy: PolicyInput) -> list[Row]:
    """A row for each estimator; one for all of them where overlap refused them all."""
    found = policy.evaluation.estimators
    if not policy.shown:
        return [answer("all refused", policy.headline)]
    return [answer(name, each) for name, each in found.items()]


def answer(label: str, estimate: Estimate, spell: Callable[[float], str] = words.number) -> Row:
    """A line of a forest plot: the value with its interval, or why there is none."""
    if estimate.value is None:
        return Row(label, estimate, f"refused: {estimate.reason}")
    ends = words.interval(estimate, spell)
    value = spell(estimate.value)
    return Row(label, estimate, f"{value} ({ends})" if ends else value)


def _whole(curve: Curve) -> tuple[float, float]:
    """The range of y with nothing cut off."""
    ends = np.concatenate([curve.y, curve.low, curve.high])
    finite = ends[np.isfinite(ends)]
    return float(finite.min()), float(finite.max())


def _running(rows: curves.Column, sample: Sample, report: ReportInput) -> Curve:
    return curves.running_mean(rows, report.alpha, decision=sample.decision)


def _sequence_words(report: ReportInput) -> str:
    return f"its {report.level} confidence sequence, right at all points at once"


def _sequence(sample: Sample, report: ReportInput) -> tuple[curves.Column, curves.Column] | None:
    """The confidence sequence's ends; None if rewards have no range or leave it, or rows share decisions."""
    if (
        sample.decision is not None
    ):  # its rows are differences of a martingale, which slots of one decision are not
        return None
    low, high = report.reward_range
    reward = sample.reward
    if not (report.bounded and low <= float(reward.min()) and float(reward.max()) <= high):
        return None
    found = sequence(sample.weight, reward, report.reward_range, report.alpha)
    return found.low, found.high
