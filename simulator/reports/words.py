"""Sentences and numbers of a report, as plain text: escaping is for who prints them."""

from __future__ import annotations

import re
from math import isfinite, nan
from typing import TYPE_CHECKING

from simulator.overlap import MOST_UNSUPPORTED
from simulator.targets import AS_SERVED

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.evaluation import Estimate
    from simulator.overlap import Overlap
    from simulator.reports.given import PolicyInput, ReportInput

UNKNOWN = "unknown"

TRAINED = (
    "This is not what it would earn live: it is the average over the versions that it went through while learning from what "
    "the log's policy did, and learning from its own choices makes another policy."
)


def number(value: float | None) -> str:
    """Four significant digits.

    >>> number(0.123456), number(1234567.0), number(None), number(float("nan"))
    ('0.1235', '1.235e+06', 'unknown', 'unknown')
    """
    if value is None or value != value:
        return UNKNOWN
    return f"{value:.4g}"


def signed(value: float) -> str:
    """With its sign.

    >>> signed(0.5), signed(-0.25)
    ('+0.5', '-0.25')
    """
    return f"{value:+.4g}"


def interval(estimate: Estimate, spell: Callable[[float], str] = number) -> str:
    """Its ends, "" if there are none.

    >>> from simulator.evaluation import Estimate
    >>> interval(Estimate(0.5, 0.25, 0.75, "Student t", True, ""))
    '0.25 to 0.75'
    """
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{spell(estimate.low)} to {spell(estimate.high)}"


def shorten(text: str, most: int) -> str:
    """The beginning, with an ellipsis if that is not all.

    >>> shorten("a long name", 7), shorten("short", 7)
    ('a long…', 'short')
    """
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def mode(policy: PolicyInput) -> str:
    """How it was replayed."""
    if policy.estimand == AS_SERVED:
        return "as served"
    return "frozen" if policy.frozen else "trained on the log"


def summary(report: ReportInput) -> str:
    """What log this is."""
    own = report.logged
    value = "" if own.value is None else f", which is {number(own.value)} on average"
    ends = interval(own)
    return (
        f"{report.decided:,} decisions, {report.rows:,} of them with a final reward{value}"
        f"{f' ({report.level} interval: {ends})' if ends else ''}. "
        f"Rewards lie between {number(report.reward_range[0])} and {number(report.reward_range[1])}."
    )


def headline(policy: PolicyInput, report: ReportInput) -> str:
    """The one sentence to read, without the policy's name before it.

    What a policy trained on the log is estimated at is never called what it would earn.
    """
    estimate = policy.headline
    if estimate.value is None:
        return f"this log cannot tell what it is worth. {sentence(estimate.reason)}"
    ends = interval(estimate)
    by = f"{policy.main}, {report.level} interval {ends}" if ends else f"{policy.main}, no interval"
    worth = f"{number(estimate.value)} ({by})"
    if policy.estimand == AS_SERVED:
        said = f"what ran earned {worth} per decision; every decision was made again from the log."
    elif policy.frozen:
        said = f"left as it is, it would have earned {worth} per decision on this log's contexts, {_versus(policy)}."
    else:
        said = f"trained on the log as it went, it is estimated at {worth} per decision, {_versus(policy)}. {TRAINED}"
    overlap = policy.evaluation.overlap
    if overlap.suspicious:
        said += f" Beware: the mean weight is off (z = {overlap.z:.1f}), so the logged propensities may not be those that were played."
    if not estimate.identifiable:
        said += f" Not to be believed: {sentence(estimate.reason)}"
    return said


def _versus(policy: PolicyInput) -> str:
    versus = policy.evaluation.vs_logged
    if versus.value is None:
        return "which could not be set against what the log's policy earned"
    size = f"{number(abs(versus.value))} {'more' if versus.value >= 0 else 'less'} than the log's policy earned"
    if versus.low is None or versus.high is None:
        return size
    ends = f"difference {interval(versus, signed)}"
    if versus.low <= 0 <= versus.high:
        return f"{size}, which may be chance ({ends})"
    return f"{size} ({ends})"


def sentence(text: str) -> str:
    """With a capital and a full stop.

    >>> sentence("too few rows")
    'Too few rows.'
    """
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".") if text else ""


def weights(overlap: Overlap) -> str:
    """What the mean weight says of the logged propensities."""
    if overlap.z != overlap.z:
        return "The mean weight could not be tested."
    expected = expected_weight(overlap)
    found = (
        f"The mean weight is {number(overlap.mean_weight)}, expected {number(expected)}: "
        f"z = {overlap.z:.2f}, p = {overlap.p_value:.2g}."
    )
    if overlap.suspicious:
        return (
            f"{found} That is hardly chance: the logged propensities may not be those that were played, "
            "and then no estimate here is right."
        )
    return f"{found} Nothing speaks against the logged propensities."


def setting(estimate: Estimate, name: str) -> str:
    """The estimator's name with its setting, if it has one, to four digits.

    >>> from simulator.evaluation import Estimate
    >>> setting(Estimate(0.5, 0.4, 0.6, "Student t", True, "", "ClippedIPS(clip=1.324474206)"), "clipped")
    'ClippedIPS(clip=1.324)'
    """
    return (
        re.sub(r"\d+\.\d+(e[-+]?\d+)?", lambda found: number(float(found[0])), estimate.setting)
        or name
    )


def expected_weight(overlap: Overlap) -> float:
    """The mean weight's expectation: 1 less the unsupported mass, 1 if that is not known."""
    return 1.0 if overlap.unsupported != overlap.unsupported else 1 - overlap.unsupported


def ess(overlap: Overlap) -> str:
    """The effective sample size, which kind, and its share of the rows."""
    known = overlap.expected_ess == overlap.expected_ess
    if not isfinite(overlap.ess):
        return "no action is supported"
    share = overlap.ess / overlap.n if overlap.n else nan
    return (
        f"{overlap.ess:,.0f} of {overlap.n:,} ({share:.1%}, {'expected' if known else 'realised'})"
    )


def unsupported(overlap: Overlap) -> str:
    """The unsupported mass, and whether it is too much."""
    if overlap.unsupported != overlap.unsupported:
        return f"{UNKNOWN}: the log has no pmfs"
    too_much = overlap.unsupported > MOST_UNSUPPORTED
    return f"{overlap.unsupported:.2%}{' (too much)' if too_much else ''}"
