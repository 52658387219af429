"""Logistic Thompson sampling (Chapelle & Li 2011, "An Empirical Evaluation of Thompson Sampling", section 3 and algorithm 3):
regularised logistic regression with a diagonal Laplace approximation of its posterior, w_i ~ N(m_i, 1 / q_i), online.

A batch is one reward y in [0, 1], so the regression of algorithm 3,

    minimise 1/2 sum q_i (w_i - m_i)^2 - y log p - (1 - y) log (1 - p),   where p = 1 / (1 + exp(-w'x)),

has one unknown only: w_i = m_i + a x_i / q_i with a = y - p. It is solved to the last bit, and q_i += x_i^2 p (1 - p).

An action's score is N(m'x, v^2 sum x_i^2 / q_i), before the link; the pmf is how often it is the greatest. What all actions
have alike (the bias, the context's own features) shifts all scores by one random number and is left out. What is left
decides how the pmf is computed, for each request anew:

- No two actions share a weight: their scores are independent, and the pmf is exact, by quadrature (`best_of`). So it is
  with `interactions: action_id` and actions that have no features, or none in common.
- Some do: scores are correlated, and the pmf is counted from `samples` joint draws (`linear.joint`). Each draw is a function
  of the seed, so the pmf can be computed again, and it is the pmf that is played: its noise makes no logged probability wrong.

Forgetting: with a discount, what was learned of q_i shrinks by that factor before each interaction (as in Russac, Vernade & Cappe 2019,
"Weighted Linear Bandits for Non-Stationary Environments"). m_i stays, and gives way the sooner the less q_i holds it.
"""

from __future__ import annotations

from math import tanh
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field
from scipy.special import expit

from policies.best_of import best_of_normals
from policies.hashed.rows import rows_of, slots
from policies.hashed.settings import HashedSettings
from policies.linear.joint import frequencies
from policies.pack import pack, unpack
from policies.policy import About, Policy, PolicyError, PolicySettings
from policies.rewards import shares
from policies.sums import sums, total
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.hashed.rows import Rows
    from policies.types import ActionSet, Features, Interaction

# Halvings of an interval of length 1: what is left is below the last bit of a probability of 2^-10.
_HALVINGS = 63


# Precisions are kept multiplied by 1 / discount for each interaction, and are all made smaller where that exceeds 2^300.
_RESCALE = 2.0**300


class LogisticTSSettings(HashedSettings):
    """Settings of LogisticTS."""

    scale: float = Field(
        default=0.5,
        ge=1e-3,
        le=1e3,
        description="v: standard deviations are multiplied by this, so less explores less. 1 is the posterior, which takes weights "
        "for independent and so is too wide where features come together.",
    )
    ridge: float = Field(
        default=1.0,
        ge=1e-6,
        le=1e6,
        description="lambda: what every q_i starts with. Higher takes all effects for smaller until rewards say otherwise, and "
        "explores less at first.",
    )
    discount: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="Factor by which what was learned falls with every interaction, of all actions together. 1 never forgets; 1 - 1/n "
        "remembers about n interactions.",
    )
    samples: int = Field(
        default=256,
        ge=16,
        le=16_384,
        description="Joint draws of which a pmf is counted where actions share weights. More make smoother probabilities and "
        "take as much more time.",
    )


class LogisticTS(Policy):
    """Plays each action as often as it is the best by a logistic regression's posterior, over hashed features.

    An action is its id, its features, the context's features, and products with the context as `interactions` says. Rewards
    are shares of the reward range: 0.3 is learned as three wins among ten.

    State: m_i and q_i, 16 bytes for each of 2^bits weights in memory (default 4 MB), 24 bytes for each weight in use when
    saved. The table never grows.

    scores: the rewards that m expects.
    """

    name = "logistic_ts"
    about = About(
        paper='Chapelle & Li 2011, "An Empirical Evaluation of Thompson Sampling", algorithm 3',
        when="Clicks and other rewards of yes or no, with sparse features. It explores what is uncertain, and stops by itself.",
        exploration="As much as the posterior is wide; `scale` makes it wider (explores more) or narrower (less).",
    )
    Settings = LogisticTSSettings
    structural = frozenset({"ridge", "interactions", "bits", "discount"})
    libraries = ("numpy", "scipy")

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, LogisticTSSettings)
        self._settings = settings
        self._low, high = reward_range
        self._span = high - self._low
        self._mean = np.zeros(2**settings.bits)  # m_i
        self._precision = np.zeros(2**settings.bits)  # (q_i - lambda) * unit
        self._unit = 1.0  # the weight of the interaction learned last

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        rows = self._rows(context, actions)
        row, slot, x = rows.merged(self._settings.bits)
        mean = sums(row, self._mean[slot] * x, len(actions))
        sd = self._settings.scale / np.sqrt(self._q(slot))
        together, uses = _by_slot(slot)
        # Of weights that only one action has, the sum is all that matters.
        own = uses == 1
        variance = sums(row[own], (x * sd)[own] ** 2, len(actions))
        if own.all():
            pmf = best_of_normals(mean, np.sqrt(variance))
        else:
            covariance = np.diag(variance)
            for shared in together:
                of, spread = row[shared], (x * sd)[shared]
                covariance[of[:, np.newaxis], of] += spread[:, np.newaxis] * spread
            pmf = frequencies(mean, covariance, seed, self._settings.samples)
        return Scored(pmf, self._reward(self._common(rows) + mean))

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        rows = self._rows(context, actions)
        row, slot, x = rows.merged(self._settings.bits)
        mean = sums(row, self._mean[slot] * x, len(actions))
        return self._reward(self._common(rows) + mean)

    def learn(self, interactions: Sequence[Interaction]) -> None:
        """See `Policy.learn`. Raises PolicyError where a reward is not finite; nothing is learned then."""
        rewards = shares(interactions, self._low, self._span)
        for interaction, y in zip(interactions, rewards, strict=True):
            chosen = interaction.actions.only(interaction.chosen)
            slot, x = self._rows(interaction.context, chosen).whole()
            self._forget()
            gain = x / self._q(slot)
            a = _residual(total(self._mean[slot] * x), total(x * gain), y)
            p = y - a
            self._mean[slot] += a * gain
            self._precision[slot] += x * x * (p * (1.0 - p)) * self._unit

    def _q(self, slot: NDArray[np.intp]) -> NDArray[np.float64]:
        return self._settings.ridge + self._precision[slot] / self._unit

    def _forget(self) -> None:
        self._unit /= self._settings.discount
        if self._unit > _RESCALE:
            self._unit /= _RESCALE
            self._precision /= _RESCALE  # by a power of two, which changes no bit of what is left

    def _rows(self, context: Features, actions: ActionSet) -> Rows:
        return rows_of(context, actions, self._settings.interactions, self._settings.bits)

    def _common(self, rows: Rows) -> float:
        return total(self._mean[rows.common] * rows.common_value)

    def _reward(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        reward: NDArray[np.float64] = self._low + self._span * expit(margin)
        return reward

    def state(self) -> bytes:
        slot = np.flatnonzero((self._mean != 0.0) | (self._precision != 0.0))
        arrays = {"mean": self._mean[slot], "precision": self._precision[slot]}
        arrays |= {"slot": slot.astype(np.int64)}
        return pack({**self._header(), "unit": self._unit}, arrays)

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, arrays = unpack(state)
        unit = header.pop("unit", None)
        if header != self._header() or type(unit) is not float or not 1.0 <= unit <= _RESCALE:
            raise PolicyError(f"a state of {header}, expected {self._header()}")
        kinds = {"mean": "<f8", "precision": "<f8"}
        slot = slots(arrays, kinds, 2**self._settings.bits)
        if (arrays["precision"] < 0).any():
            raise PolicyError(f"{cls.name}: a state with a negative precision")
        self._unit = unit
        self._mean[slot], self._precision[slot] = arrays["mean"], arrays["precision"]
        return self

    def _header(self) -> dict[str, object]:
        shape = self._settings.model_dump(include=set(self.structural))
        return {"policy": self.name, **shape}


def _residual(z: float, v: float, y: float) -> float:
    """The a in [y - 1, y] with a = y - 1 / (1 + exp(-(z + a v))), by bisection.

    >>> _residual(0.0, 0.0, 1.0)
    0.5
    """
    low, high = y - 1.0, y
    for _ in range(_HALVINGS):
        a = 0.5 * (low + high)
        if a < y - 0.5 * (1.0 + tanh(0.5 * (z + a * v))):
            low = a
        else:
            high = a
    return 0.5 * (low + high)


def _by_slot(slot: NDArray[np.intp]) -> tuple[list[NDArray[np.intp]], NDArray[np.intp]]:
    """(places [c] of each slot that comes more than once, slots ascending; how often the slot at each place comes [n])."""
    order = np.argsort(slot, kind="stable")
    _, which, count = np.unique(slot, return_inverse=True, return_counts=True)
    begin = np.cumsum(count) - count
    shared = np.flatnonzero(count > 1)
    places = [order[b : b + c] for b, c in zip(begin[shared], count[shared], strict=True)]
    return places, count[which]
