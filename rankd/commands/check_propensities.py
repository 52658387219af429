"""Checks of logged probabilities that every log has: are they those that were played, and do they explore?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankd.commands.check import Check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.propensities import Propensities
    from simulator.support import Support


def draws(app: str, seen: Propensities) -> Iterator[Check]:
    """Whether whole pmfs can be those that actions were drawn with.

    Args:
        app: what the checks' names begin with.
    """
    weight = seen.weight
    yield Check(
        f"{app}mean weight",
        not weight.too_far(1),
        f"{seen.mean_weight:.4f} over {seen.decisions:,} decisions, z {weight.z:+.2f}: it must be near 1",
    )
    worst = seen.worst()
    if worst is None:
        yield Check(f"{app}draws", True, "no decisions yet")
        return
    tests = len(seen.actions)
    far = [name for name, drift in seen.actions.items() if drift.too_far(tests)]
    name, drift = worst
    said = f"{tests:,} actions drawn as often as their probabilities say; the furthest is {name!r}, z {drift.z:+.2f}"
    if far:
        said = (
            f"action {far[0]!r} was drawn {seen.actions[far[0]].total:+.0f} times more than its "
            f"probabilities say (z {seen.actions[far[0]].z:+.2f}); {len(far)} of {tests} actions are off"
        )
    yield Check(f"{app}draws", not far, said)


def overlap(app: str, seen: Support, *, whole: bool = True) -> Check:
    """Whether more rows of the same kind could tell the value of any policy. That there are too few yet is said, and fails nothing.

    Args:
        app: what the check's name begins with.
        whole: whether every decision has its pmf; else the figures are the best that can be.
    """
    most = "" if whole else "at most "
    said = (
        f"for the uniform policy the log is worth {most}{seen.ess:,.0f} of its {seen.decisions:,} decisions; "
        f"exploration is {most}{seen.exploration:.1%}"
    )
    rarest = seen.rarest()
    if rarest is not None:
        said += f"; the rarest action is {rarest[0]!r} with {rarest[1]:.2%}"
    if seen.unsupported:
        said += f"; {'' if whole else 'at least '}{seen.unsupported:.1%} of what it would do is never done"
    if not seen.suffices:
        said += ": log with a share of uniform exploration (min_exploration), or ask only for policies near the log's own"
    elif seen.too_short:
        said += ", which is too few yet to value a policy that differs much"
    return Check(f"{app}overlap", seen.suffices, said)
