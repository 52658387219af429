"""Rewards as shares of the range that an app accepts."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from policies.policy import PolicyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.types import Interaction


def shares(interactions: Sequence[Interaction], low: float, span: float) -> list[float]:
    """Where each reward is in the range, in [0, 1]. One outside of it counts as its nearer end.

    Args:
        low: the lowest reward.
        span: how far the highest is from it, > 0.

    Raises:
        PolicyError: a reward is not finite: one NaN would stay in a model for ever.
    """
    for interaction in interactions:
        if not isfinite(interaction.reward):
            raise PolicyError(f"reward: is {interaction.reward}; must be finite")
    return [min(max((each.reward - low) / span, 0.0), 1.0) for each in interactions]
