"""A replay as Markdown, for a pull request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simulator.evaluation import ONE_LOOK
from simulator.reports import words

if TYPE_CHECKING:
    from simulator.evaluation import Estimate
    from simulator.reports.given import PolicyInput, ReportInput

COLUMNS = ("policy", "replayed", "estimator", "value", "interval", "minus the log", "minus the first", "ESS")  # fmt: skip


def markdown(report: ReportInput) -> str:
    """One row for each policy and estimator; reasons of refusals and what the figures mean stand below.

    Differences are of a policy's first estimator and stand in its first row.
    """
    lines = [
        f"**Replay of {plain(report.log)}**: {words.summary(report)}",
        "",
        row(COLUMNS),
        row(("---", "---", "---", "---:", "---", "---", "---", "---:")),
    ]
    for policy in report.policies:
        lines += [row(cells) for cells in _cells(policy)]
    lines += ["", *(f"- {plain(policy.name)}: {plain(words.headline(policy, report))}" for policy in report.policies)]  # fmt: skip
    note = f"Intervals are at {report.level}. ESS: effective sample size, in rows."
    if any(policy.evaluation.vs_logged.interval.endswith(ONE_LOOK) for policy in report.policies):
        note += f" Differences have Student's t, {ONE_LOOK}."
    lines += ["", note, ""]
    return "\n".join(lines)


def _cells(policy: PolicyInput) -> list[tuple[str, ...]]:
    evaluation = policy.evaluation
    ess = f"{evaluation.overlap.ess:,.0f}"
    who = (plain(words.shorten(policy.name, 60)), words.mode(policy))
    if not policy.shown:
        return [(*who, "all", "refused", "see below", "", "", ess)]
    found: list[tuple[str, ...]] = []
    for name, each in evaluation.estimators.items():
        first = name == policy.main
        value = "refused" if each.value is None else words.number(each.value)
        if each.value is not None and not each.identifiable:
            value += " (not to be believed)"
        why = each.reason if each.value is None else words.interval(each)
        found.append(
            (
                *who,
                plain(words.setting(each, name)),
                value,
                plain(why),
                _difference(evaluation.vs_logged) if first else "",
                _difference(policy.vs_first) if first else "",
                ess if first else "",
            )
        )
    return found


def _difference(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    if estimate.value is None:
        return "refused"
    ends = words.interval(estimate, words.signed)
    return words.signed(estimate.value) + (f" ({ends})" if ends else "")


def row(cells: tuple[str, ...]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """As it is, whatever Markdown or HTML it looks like, in one line.

    >>> plain("a|b <i>*c*")
    'a\\\\|b &lt;i&gt;\\\\*c\\\\*'
    """
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~@!])", r"\\\1", flat)
