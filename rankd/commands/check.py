"""What one check of `rankd validate` found, and the bars that checks of logs have in common."""

from __future__ import annotations

from typing import NamedTuple

# Share of rewards that may be late or dangling. What is lost is learned as the default reward, so the error of
# a mean may be this share of the reward range.
MOST_LOST = 0.05
# Share of rewards that may be repetitions. They count once; more of them mean a client that retries what was answered.
MOST_DUPLICATES = 0.1
# Share of decisions that may be deferred and never activated: beyond it, what is learned is the smaller, chosen part.
MOST_NOT_ACTIVATED = 0.5
# Share of decisions that may have no reward for ever: beyond it, what can be learned is the smaller, chosen part.
MOST_UNREWARDED = 0.5


class Check(NamedTuple):
    """One check and what it found."""

    name: str
    passed: bool
    found: str


def share(part: int, whole: int) -> str:
    """In percent.

    >>> share(1, 8), share(0, 0)
    ('12.5%', '0%')
    """
    return f"{part / whole:.1%}" if whole else "0%"


def not_activated(app: str, missing: int, asked: int, said: str) -> Check:
    """Whether few enough decisions were deferred and never activated: the same of rankd's own log and of dsjson.

    Args:
        app: what the check's name begins with.
        missing: decisions that nobody activated.
        asked: decisions, these included.
        said: more of those, in words.
    """
    told = f"{share(missing, asked)} of decisions were never activated{said}"
    if missing:
        told += ": estimates are about the others, a selection"
    return Check(f"{app}deferred", missing <= MOST_NOT_ACTIVATED * asked, told)
