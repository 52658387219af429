"""Factorization machines (Rendle 2010, "Factorization Machines"), River's: the reward of an action is

    w_0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j

over the features of context and action together, the action's id among them. So what is learned of a user with one article
tells something of other users with other articles, as in matrix factorisation, and of a new article by its features.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from pydantic import Field

from policies.explorers import EXPLORERS, Explorer, ExplorerSettings
from policies.policy import About
from policies.river.policy import River, RiverSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.policy import PolicySettings
    from policies.types import ActionSet, Features


# Greatest derivative of the squared loss by the prediction: twice the error, and rewards are shares of their range.
_CLIP = 2.0
# Standard deviation of factors at first. They are drawn in the order in which features are first learned of, which for one interaction
# is that of their hashes; small, so that what a feature is called makes no difference to speak of.
_SIGMA = 0.01


class FMSettings(ExplorerSettings):
    """Settings of factorization machines."""

    factors: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Length of each v_i: how many ways there are in which two features can go together. Time and memory are "
        "proportional to it.",
    )
    learning_rate: float = Field(
        default=0.2,
        gt=0.0,
        le=10.0,
        description="Length of a gradient's step, of weights and factors. Lower it where rewards are noisy.",
    )
    l2: float = Field(
        default=0.0,
        ge=0.0,
        le=10.0,
        description="Pulls weights and factors towards 0, at every step in which their feature takes part. Raise it where "
        "features are many and rewards few.",
    )
    explorer: Explorer = Field(default="squarecb", description=EXPLORERS)


class FM(River):
    """A factorization machine that predicts rewards from context, action and all their pairs.

    Pairs are gone through one by one, so that time grows with the square of the features that one action has together with the context: up
    to some 20 of them.

    State: as of River's models: some 400 bytes for each feature with 8 factors.

    scores: the expected rewards.
    """

    name = "fm"
    about = About(
        paper='Rendle 2010, "Factorization Machines"; Foster & Rakhlin 2020, "Beyond UCB"',
        when=(
            "Users and items with some features of their own, where it is pairs that matter, "
            "and few rewards for each pair. Few features: time grows with their square."
        ),
        exploration="As `explorer` says: `gamma` (higher explores less), `temperature` or `epsilon`.",
    )
    Settings = FMSettings
    structural = frozenset({"factors", "learning_rate", "l2"})

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, FMSettings)
        step = {"optim.SGD": {"lr": settings.learning_rate}}
        machine = {
            "n_factors": settings.factors,
            "weight_optimizer": step,
            "latent_optimizer": step,
            "intercept_lr": settings.learning_rate,
            "l2_weight": settings.l2,
            "l2_latent": settings.l2,
            "clip_gradient": _CLIP,
            "latent_initializer": {"optim.initializers.Normal": {"sigma": _SIGMA}},
        }
        river = RiverSettings(
            model={"facto.FMRegressor": machine},
            interactions="none",
            explorer=settings.explorer,
            **settings.model_dump(include=set(ExplorerSettings.model_fields)),
        )
        super().__init__(river, reward_range)

    def _rows(self, context: Features, actions: ActionSet) -> Iterator[dict[int, float]]:
        for row in super()._rows(context, actions):
            length = sqrt(sum(x * x for x in row.values()))  # at least 1: that of the action's id
            yield {j: x / length for j, x in row.items()}
