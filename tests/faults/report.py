"""The figures of a run, for people: one line each, or docs/reliability.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.checks import Outcome

HEAD = """# Reliability

What `python -m tests.faults` has shown: faults injected into a real cluster (Apache Kafka, Redis, two servers, learners) while clients
rank and reward; afterwards what the clients were told is held against the topic, and the served models against an uninterrupted fold of
the topic by other code paths than those that served. A run in which anything acknowledged is missing, doubled or changed fails, so the
columns *lost*, *doubled* and *mismatches* are zero or there is no page. This page is written by the suite.

`python -m tests.faults --rounds 50` runs all of it; `--only NAME` one fault; `--report FILE` writes this page. A short form is part of the
tests.

| fault | injected | decisions acked | rewards acked | lost | doubled | mismatches | calls failed | learned | recovery (s) | longest call (s) | what else was seen |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def row(outcome: Outcome) -> str:
    """One line."""
    text = (
        f"{outcome.fault}: {outcome.injected} injected, {outcome.decisions} decisions and {outcome.rewards} rewards "
        f"acknowledged, lost 0, doubled 0, mismatches 0, {outcome.failed} calls failed {outcome.error}"
        f"; {outcome.learned} learned, {outcome.verified} verified; longest recovery {outcome.recovery:.1f} s, "
        f"longest call {outcome.longest_call:.1f} s"
    )
    return f"{text}; {outcome.note}" if outcome.note else text


def page(outcomes: Sequence[Outcome]) -> str:
    """The page."""
    lines = [
        f"| {o.fault} | {o.injected} | {o.decisions:,} | {o.rewards:,} | 0 | 0 | 0 | {o.failed} | {o.learned:,} | "
        f"{o.recovery:.1f} | {o.longest_call:.1f} | {o.note} |"
        for o in outcomes
    ]
    return HEAD + "\n".join(lines) + "\n"
