"""What all policies on a table of hashed weights can be told."""

from __future__ import annotations

from pydantic import Field

from policies.crossing import Crossing  # pydantic reads it
from policies.policy import PolicySettings


class HashedSettings(PolicySettings):
    """Which weights there are. All of these shape a state."""

    interactions: Crossing = Field(
        default="action_id",
        description="What context features are multiplied by, so that the context can change which action is best. "
        "action_id: each action has weights of its own; needs data for each id. action_features: carries over to new "
        "actions. both: either. none: the context changes nothing.",
    )
    bits: int = Field(
        default=18,
        ge=8,
        le=26,
        description="The table has 2^bits weights and takes 16 bytes for each. Features whose hashes agree in these bits share a "
        "weight: have several times as many weights as features, products included.",
    )
