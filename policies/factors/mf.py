"""Online matrix factorisation, that is collaborative filtering (Koren, Bell & Volinsky 2009, "Matrix Factorization Techniques
for Recommender Systems", equation 4), and an explorer on top:

    r(u, a) = mu + b_u + b_a + p_u' q_a

A user is the sum of the vectors of its features, an item that of its id and its features (as in LightFM: Kula 2015,
"Metadata Embeddings for User and Item Cold-start Recommendations"): so a new item is scored from its features, and a new
user from what is known of them. Sums are scaled to length 1, if longer, so that many features make no longer steps; an
id alone has length 1.

Biases and vectors have independent normal posteriors, learned online (as in Matchbox: Stern, Herbrich & Graepel 2009,
"Matchbox: Large Scale Online Bayesian Recommendations"; by the extended Kalman filter rather than by messages, with
noise of variance 1 in units of which lambda is the precision of every prior):

    g = d r / d theta,  e = reward - r,  theta_i += e (g_i / P_i) / (1 + sum_j g_j^2 / P_j),  P_i += g_i^2,  P_i = lambda at first

so steps become shorter with every reward, for each number by itself, and to first order none goes past the reward. Steps of
one length, as in the first of these papers, hardly got beyond what is best for all on the world of tests/policies/test_mf.py.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from policies.crossing import mixed
from policies.explorers import EXPLORERS, Explorer, ExplorerSettings, explored
from policies.factors.entities import Entities
from policies.features import action_index, namespace_letter
from policies.pack import pack, unpack
from policies.policy import About, Policy, PolicyError
from policies.rewards import shares
from policies.sums import sums, total
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.policy import PolicySettings
    from policies.types import ActionSet, Features, Interaction

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd


class MFSettings(ExplorerSettings):
    """Settings of MF."""

    user_namespace: str = Field(
        default="user",
        description="The context's namespace that tells who it is: each category in it, and each element of a vector, is a part "
        "of the user. Namespaces with the same first letter count too. Named numbers do not.",
    )
    factors: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Length of the vectors p and q. More can tell finer tastes apart, and need more rewards.",
    )
    ridge: float = Field(
        default=1.0,
        ge=1e-3,
        le=1e6,
        description="lambda: how strongly biases and vectors are held to where they start. Raise it where rewards are noisy and "
        "users have few of them.",
    )
    capacity: int = Field(
        default=100_000,
        ge=16,
        le=10_000_000,
        description="Most features, of users and items together, whose vectors are kept; those learned least recently make room.",
    )
    explorer: Explorer = Field(default="squarecb", description=EXPLORERS)


class MF(Policy):
    """Recommends what users with the same tastes liked, from ids alone; features of users and items help with new ones.

    The only context that counts is the user: a request without any gets the items that are best for all. Named numbers are
    left out, of actions too.

    State: 16 * (1 + factors) bytes for each of at most `capacity` features, and about 150 in memory to find them: by default
    30 MB at worst, twice that for a moment as the table grows, and 15 MB when saved.

    scores: the expected rewards.
    """

    name = "mf"
    about = About(
        paper='Koren, Bell & Volinsky 2009, "Matrix Factorization Techniques for Recommender Systems"; Kula 2015 (LightFM)',
        when="Users who come back, with ids, and items that many of them see: what one user liked says what similar ones will.",
        exploration="As `explorer` says: `gamma` (higher explores less), `temperature` or `epsilon` (higher explores more).",
    )
    Settings = MFSettings
    structural = frozenset({"user_namespace", "factors", "ridge", "capacity"})
    libraries = ("numpy",)  # softmax takes exponentials

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, MFSettings)
        self._settings = settings
        self._low, high = reward_range
        self._span = high - self._low
        self._letter = namespace_letter(settings.user_namespace, "c")
        self._entities = Entities(_width(settings.factors), settings.capacity)
        self._learned = 0
        self._mean = 0.5  # mu: of a first reward in the middle of the range and all that came

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        expected = self._predict(context, actions)
        pmf = explored(self._settings.explorer, self._settings, expected, self._learned)
        return Scored(pmf, self._low + self._span * expected)

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        return self._low + self._span * self._predict(context, actions)

    def learn(self, interactions: Sequence[Interaction]) -> None:
        """See `Policy.learn`. Raises PolicyError where a reward is not finite; nothing is learned then."""
        rewards = shares(interactions, self._low, self._span)
        for interaction, reward in zip(interactions, rewards, strict=True):
            chosen = interaction.actions.only(interaction.chosen)
            self._step(interaction.context, chosen, reward)

    def _step(self, context: Features, chosen: ActionSet, reward: float) -> None:
        s = self._settings
        who, x = self._user(context)
        what, _, y = _items(chosen)
        users = self._entities.of(who, newborn(2 * self._learned, s.factors))
        items = self._entities.of(what, newborn(2 * self._learned + 1, s.factors))
        user, item = self._sum(users, x), self._sum(items, y)
        error = reward - float(self._reward(user, item[np.newaxis])[0])
        user[0] = item[0] = 1.0
        # d r / d (b, p) of a user's feature is x_i (1, q), of an item's y_i (1, p).
        sides = [
            (who, users, x[:, np.newaxis] * item),
            (what, items, y[:, np.newaxis] * user),
        ]
        d = 1 + s.factors
        gains = [g / (s.ridge + vectors[:, d:]) for _, vectors, g in sides]
        spread = sum(
            total((g * gain).ravel()) for (_, _, g), gain in zip(sides, gains, strict=True)
        )
        step = error / (1.0 + spread)
        for (index, vectors, g), gain in zip(sides, gains, strict=True):
            vectors[:, :d] += step * gain
            vectors[:, d:] += g * g
            self._entities.learn(index, vectors)
        self._learned += 1
        self._mean += (reward - self._mean) / (1 + self._learned)

    def _predict(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        """Expected rewards [K] as shares of the range."""
        who, x = self._user(context)
        what, row, y = _items(actions)
        d = 1 + self._settings.factors
        at = row[:, np.newaxis] * d + np.arange(d)
        terms = y[:, np.newaxis] * self._entities.of(what)[:, :d]
        items = sums(at.ravel(), terms.ravel(), len(actions) * d).reshape(-1, d)
        return self._reward(self._sum(self._entities.of(who), x), items)

    def _reward(self, user: NDArray[np.float64], items: NDArray[np.float64]) -> NDArray[np.float64]:
        """[K] of a user [1 + factors] and items [K, 1 + factors]."""
        products = np.add.accumulate(user[1:] * items[:, 1:], axis=1)[:, -1]
        reward = (self._mean + user[0]) + items[:, 0] + products
        clipped: NDArray[np.float64] = np.minimum(np.maximum(reward, 0.0), 1.0)
        return clipped

    def _user(self, context: Features) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """(index [n], weight [n]) of the user's features."""
        part = (context.namespace == self._letter) & ~context.numeric & (context.value != 0.0)
        x = context.value[part]
        return context.index[part], x / max(1.0, sqrt(total(x * x)))

    def _sum(
        self, vectors: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The weighted sum [1 + factors] of the means, from first to last."""
        d = 1 + self._settings.factors
        if not len(weights):
            return np.zeros(d)
        terms = vectors[:, :d] * weights[:, np.newaxis]
        summed: NDArray[np.float64] = np.add.accumulate(terms, axis=0)[-1]
        return summed

    def state(self) -> bytes:
        header = {**self._header(), "learned": self._learned, "mean": self._mean}
        return pack(header, self._entities.arrays())

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, arrays = unpack(state)
        learned, mean = header.pop("learned", None), header.pop("mean", None)
        if header != self._header():
            raise PolicyError(f"a state of {header}, expected {self._header()}")
        if type(learned) is not int or type(mean) is not float or learned < 0 or not 0 <= mean <= 1:
            raise PolicyError(f"{cls.name}: a state of {learned} rewards and the mean {mean}")
        self._learned, self._mean = learned, mean
        s = self._settings
        self._entities = Entities.from_arrays(_width(s.factors), s.capacity, arrays)
        if (arrays["vectors"][:, 1 + s.factors :] < 0).any():
            raise PolicyError(f"{cls.name}: a state with a negative precision")
        return self

    def _header(self) -> dict[str, object]:
        shape = self._settings.model_dump(include=set(self.structural))
        return {"policy": self.name, **shape}


def _width(factors: int) -> int:
    """Numbers of one feature: the means of bias and vector, then for each P_i - lambda."""
    return 2 * (1 + factors)


def _items(
    actions: ActionSet,
) -> tuple[NDArray[np.uint64], NDArray[np.intp], NDArray[np.float64]]:
    """(index [n], which action [n], weight [n]) of the items' features: all ids, then what each has besides."""
    k, features = len(actions), actions.features
    part = ~features.numeric & (features.value != 0.0)
    own = np.arange(k)
    row = np.concatenate((own, own.repeat(actions.start[1:] - actions.start[:-1])[part]))
    value = np.concatenate((np.ones(k), features.value[part]))
    length = np.sqrt(sums(row, value * value, k))  # at least 1, as each has an id
    ids = np.array([action_index(a) for a in actions.ids], np.uint64)
    return np.concatenate((ids, features.index[part])), row, value / length[row]


def newborn(number: int, factors: int) -> NDArray[np.float64]:
    """What features begin with when they are first learned, [2 * (1 + factors)]: means of 0 for the bias and of pseudo-random
    numbers for the vector, uniform in +- 1 / (2 sqrt(factors)), so that lengths are about 0.3.

    Were all vectors 0, their gradients would be, too. A number makes them rather than a name, as no name may mean anything;
    so what is learned together for the first time begins alike.
    """
    start = mixed(np.array([number], np.uint64))
    bits = mixed(start + np.arange(1, factors + 1, dtype=np.uint64) * _GOLDEN)
    new = np.zeros(_width(factors))
    new[1 : 1 + factors] = ((bits >> np.uint64(11)) * 2.0**-53 - 0.5) / np.sqrt(factors)
    return new
