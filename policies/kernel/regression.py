"""Kernel regression of rewards (Nadaraya 1964, "On Estimating Regression"; Watson 1964, "Smooth Regression Analysis") with a
bonus for what is little known, as in UCB for nearest neighbours (Reeve, Mellor & Brown 2018, "The K-Nearest Neighbour UCB
Algorithm for Multi-Armed Bandits with Covariates").

What action a is expected to earn in context x is the mean of what it earned before, each reward r_i weighted by how near
its context x_i was, and n0 rewards of the overall mean besides:

    n_a(x) = n0 + sum of k(x, x_i),   mu_a(x) = (n0 * mean + sum of k(x, x_i) r_i) / n_a(x),   over all i whose action was a
    score = mu_a(x) + alpha / sqrt(n_a(x)), the greatest is played.

The kernel is k = (1 + |x - x_i|^2 / (16 h^2 D))^-8, all but a Gaussian with the standard deviation h * sqrt(D), which needs no
exp (a rational quadratic, Rasmussen & Williams 2006, section 4.2.1). D is the mean squared distance between two contexts so far: so
the bandwidth h needs no unit, and the same one suits few features and many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from policies.exploration import greedy
from policies.kernel.memory import Memory
from policies.pack import pack, unpack
from policies.policy import About, Policy, PolicyError, PolicySettings
from policies.sums import total
from policies.types import Features, Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.types import ActionSet, Interaction

    _Answer = tuple[Features, ActionSet, NDArray[np.float64], NDArray[np.float64]]


class KernelSettings(PolicySettings):
    """Settings of kernel regression."""

    bandwidth: float = Field(
        default=0.2,
        gt=0.0,
        le=10.0,
        description="How near a context must be to count, as a share of the typical distance between two. Greater is smoother: "
        "better while there are few interactions or much noise, too coarse for fine differences.",
    )
    alpha: float = Field(
        default=0.2,
        ge=0.0,
        description="How much optimism an action gets that was seldom tried nearby: the bonus of one that never was is "
        "alpha / sqrt(prior_weight), in units of reward. 0 never explores by itself.",
    )
    prior_weight: float = Field(
        default=0.5,
        gt=0.0,
        le=1e6,
        description="How many rewards the overall mean counts as. Higher trusts single neighbours less.",
    )
    memory: int = Field(
        default=4000,
        ge=1,
        le=100_000,
        description="How many of the last interactions are kept. Deciding takes time in proportion: with 20 features "
        "a third of a millisecond for 4,000. Fewer forget sooner, where the world changes.",
    )
    dimensions: int = Field(
        default=256,
        ge=2,
        le=4096,
        description="Most features that are kept apart. Those that come after are folded onto the others by hash, with a sign.",
    )


class KernelRegression(Policy):
    """Expects of an action what it earned in contexts like this one. Finds relations of any shape where features are few.

    State: the last `memory` interactions, d features each: 4 d + 16 bytes; at the defaults 0.3 MB with 16 features, 4.2 MB
    at most; and 24 d bytes. Actions that are in none of them are forgotten.

    scores: the expected reward and its bonus.
    """

    name = "kernel"
    about = About(
        paper="Nadaraya 1964, On Estimating Regression; Reeve, Mellor & Brown 2018, The K-Nearest Neighbour UCB Algorithm for "
        "Multi-Armed Bandits with Covariates",
        when="With few features, numbers above all, when the relation between them and the reward may be crooked.",
        exploration="Plays the best upper bound. alpha widens it.",
    )
    Settings = KernelSettings
    structural = frozenset({"memory", "dimensions"})
    version = 2  # 1 added distances up in another order where few actions were asked about

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, KernelSettings)
        self._settings = settings
        self._memory = Memory(settings.memory, settings.dimensions)
        self._mean = 0.0  # of all rewards
        self._centre = np.empty(0)  # [d] mean of each column
        self._spread = np.empty(0)  # [d] sum of squared deviations from it
        # The last answer, for `expected` is often asked for what `pmf` was asked before.
        self._last: _Answer | None = None

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        mean, weight = self._estimate(context, actions)
        scores = mean + self._settings.alpha / np.sqrt(weight)
        return Scored(greedy(scores), scores)

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        return self._estimate(context, actions)[0]

    def learn(self, interactions: Sequence[Interaction]) -> None:
        self._last = None
        for interaction in interactions:
            action = interaction.actions.ids[interaction.chosen]
            x = _joined(interaction.context, interaction.actions.of(interaction.chosen))
            row = self._memory.add(x, action, interaction.reward).astype(np.float64)
            n = self._memory.learned
            self._mean += (interaction.reward - self._mean) / n
            new = np.zeros(len(row) - len(self._centre))
            self._centre = np.concatenate((self._centre, new))
            self._spread = np.concatenate((self._spread, new))
            # Welford (1962); a column that is new was 0 until now.
            delta = row - self._centre
            self._centre += delta / n
            self._spread += delta * (row - self._centre)

    def _estimate(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(mu [K], n [K]): expected reward, and the weight of the rewards that it comes from."""
        if self._last is None or self._last[0] is not context or self._last[1] is not actions:
            self._last = context, actions, *self._nadaraya_watson(context, actions)
        return self._last[2:]

    def _nadaraya_watson(
        self, context: Features, actions: ActionSet
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        prior = self._settings.prior_weight
        if not len(self._memory):
            return np.zeros(len(actions)), np.full(len(actions), prior)
        where, distance = self._memory.neighbours(context, actions)
        mass, earned = self._memory.sums(where, self._kernel(distance), actions.ids)
        weight = prior + mass
        return (prior * self._mean + earned) / weight, weight

    def _kernel(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weight of interactions at these squared distances, in (0, 1]."""
        # Two independent contexts are, on average, twice the sum of the columns' variances apart.
        typical = 2.0 * total(self._spread) / self._memory.learned
        if not typical:  # all contexts were the same
            return np.ones(len(distance))
        scale = 16.0 * self._settings.bandwidth**2 * typical
        k: NDArray[np.float64] = 1.0 / (1.0 + distance / scale)
        for _ in range(3):
            k *= k
        return k

    def state(self) -> bytes:
        header, arrays = self._memory.dump()
        arrays |= {"centre": self._centre, "spread": self._spread, "mean": np.array([self._mean])}
        return pack({"policy": self.name, **self._structure(), **header}, arrays)

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        assert isinstance(settings, KernelSettings)
        header, arrays = unpack(state)
        expected = {"policy": cls.name, **self._structure()}
        if {name: header.get(name) for name in expected} != expected:
            raise PolicyError(f"a state of {header.get('policy')!r}, expected {expected}")
        try:
            self._memory = Memory.load(settings.memory, settings.dimensions, header, arrays)
            self._centre, self._spread = arrays["centre"], arrays["spread"]
            (self._mean,) = arrays["mean"].tolist()
            numbers = np.concatenate((self._centre, self._spread, arrays["mean"]))
            shape = arrays["columns"].shape
            if numbers.dtype != np.float64 or not np.isfinite(numbers).all():
                raise ValueError("a moment is no finite number")
            if not (
                self._centre.shape == self._spread.shape == shape and (self._spread >= 0).all()
            ):
                raise ValueError("moments and columns do not match")
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(f"not a state of {cls.name}: {error}") from error
        return self

    def _structure(self) -> dict[str, object]:
        return {name: getattr(self._settings, name) for name in sorted(self.structural)}


def _joined(one: Features, other: Features) -> Features:
    """The features of both, those of one first."""
    if not len(other):
        return one
    return Features(
        np.concatenate((one.index, other.index)),
        np.concatenate((one.value, other.value)),
        np.concatenate((one.namespace, other.namespace)),
        np.concatenate((one.numeric, other.numeric)),
    )
