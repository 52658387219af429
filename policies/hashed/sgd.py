"""Stochastic gradient descent on a sparse linear or logistic model of rewards, in one table of hashed weights.

Each weight has a step of its own, by AdaGrad (Duchi, Hazan & Singer 2011, "Adaptive Subgradient Methods for Online
Learning and Stochastic Optimization"), in units of the greatest |x_i| that its feature has had (Ross, Mineiro & Langford
2013, "Normalized Online Learning", algorithm NAG):

    s_i = max |x_i|,  N = sum over rounds and i of (x_i / s_i)^2,  G_i = sum of (g x_i / s_i)^2
    w_i -= eta sqrt(t / N) / (s_i sqrt(G_i)) g x_i / s_i,   where g is the derivative of the loss by the prediction

so whether a price is in euros or in cents changes nothing. Kept is w_i s_i, which needs no rescaling when s_i grows. Two
things are ours. Every sum of squares starts at 1, so that the first steps, of which least is known, are not the longest.
And a step is divided by 1 + h sum x_i^2 r_i, where r_i is its rate and h the loss's greatest curvature: for the squared loss
that is the implicit step (Kulis & Bartlett 2010, "Implicit Online Learning"), which never goes past the reward however
many features there are or whatever eta is.

The confidence width of `ucb` is that of ridge regression with a diagonal matrix, sqrt(sum x_i^2 / (1 + S_i)) with S_i the sum
of x_i^2 so far: the cheap form of the width in RegCB (Foster et al. 2018, "Practical Contextual Bandits with Regression
Oracles"), that takes features for independent.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field
from scipy.special import expit

from policies.exploration import greedy
from policies.explorers import EXPLORERS, ExplorerSettings, explored
from policies.hashed.rows import rows_of, slots
from policies.hashed.settings import HashedSettings
from policies.pack import pack, unpack
from policies.policy import About, Policy, PolicyError
from policies.rewards import shares
from policies.sums import sums, total
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.hashed.rows import Rows
    from policies.policy import PolicySettings
    from policies.types import ActionSet, Features, Interaction

# The greatest second derivative of each loss by the prediction, 1/2 (p - y)^2 and -y log p - (1 - y) log (1 - p).
_CURVATURE = {"squared": 1.0, "logistic": 0.25}
# Instead of 0 below a fraction line: the least number that a CPU divides by at full speed.
_TINY = float(np.finfo(np.float64).tiny)
_COLUMNS = ("weight", "scale", "gradient", "seen")


class SGDSettings(HashedSettings, ExplorerSettings):
    """Settings of SGD."""

    loss: Literal["squared", "logistic"] = Field(
        default="squared",
        description="squared: expects mean rewards, for rewards of any kind. logistic: for rewards that are at either end "
        "of their range, clicks say; effects then multiply rather than add up.",
    )
    learning_rate: float = Field(
        default=0.5,
        gt=0.0,
        le=100.0,
        description="Length of a step. Lower it where rewards are noisy, raise it where they change quickly.",
    )
    explorer: Literal["squarecb", "softmax", "epsilon", "ucb"] = Field(
        default="squarecb",
        description=EXPLORERS
        + " ucb: the best by its confidence bound; beyond that only the app's min_exploration.",
    )
    alpha: float = Field(
        default=0.2,
        ge=0.0,
        le=1e6,
        description="ucb: width of the bound, as a share of the reward range for one feature never seen. Higher explores more.",
    )


class SGD(Policy):
    """A linear or logistic model of rewards over very many sparse features, which all actions share.

    An action is its id, its features, the context's features, and products with the context as `interactions` says. The
    model predicts a share of the reward range; what is beyond counts as its end, in predictions as in steps.

    State: 16 bytes for each of 2^bits weights in memory (default 4 MB), 24 bytes for each weight in use when saved. The
    table never grows. Its numbers are float32: a sum that has reached 2^24 (S_i and G_i of a feature that 16 million
    rewards had) stops growing, and only keeps that step from becoming shorter still.

    scores: the expected rewards; of ucb with the bonus.
    """

    name = "sgd"
    about = About(
        paper='Ross, Mineiro & Langford 2013, "Normalized Online Learning"; Duchi, Hazan & Singer 2011, "Adaptive Subgradient Methods"',
        when="For very many sparse features (words, ids, tags), or very many actions: time per decision and memory do not "
        "depend on how many features there are in all.",
        exploration="As `explorer` says: `gamma` (higher explores less), `temperature`, `epsilon` or `alpha` (higher explores more).",
    )
    Settings = SGDSettings
    structural = frozenset({"loss", "interactions", "bits"})
    libraries = ("numpy", "scipy")

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, SGDSettings)
        self._settings = settings
        self._low, high = reward_range
        self._span = high - self._low
        self._learned = 0  # t
        self._norm = 0.0  # N
        self._weight, self._scale, self._gradient, self._seen = (  # w_i s_i, s_i, G_i, S_i
            np.zeros(2**settings.bits, np.float32) for _ in _COLUMNS
        )

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        s = self._settings
        rows = self._rows(context, actions)
        x = self._scaled(rows.slot, rows.value)[1]
        expected = self._predict(rows, x, len(actions))
        if s.explorer == "ucb":
            # What all actions have in common is left out: it cannot tell which of them is best.
            variance = sums(rows.row, x * x / (1.0 + self._seen[rows.slot]), len(actions))
            expected = expected + s.alpha * np.sqrt(variance)
            return Scored(greedy(expected), self._low + self._span * expected)
        pmf = explored(s.explorer, s, expected, self._learned)
        return Scored(pmf, self._low + self._span * expected)

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        rows = self._rows(context, actions)
        x = self._scaled(rows.slot, rows.value)[1]
        return self._low + self._span * self._predict(rows, x, len(actions))

    def learn(self, interactions: Sequence[Interaction]) -> None:
        """See `Policy.learn`. Raises PolicyError where a reward is not finite; nothing is learned then."""
        rewards = shares(interactions, self._low, self._span)
        for interaction, reward in zip(interactions, rewards, strict=True):
            chosen = interaction.actions.only(interaction.chosen)
            self._step(self._rows(interaction.context, chosen), reward)

    def _step(self, rows: Rows, reward: float) -> None:
        s = self._settings
        slot, value = rows.whole()
        scale, x = self._scaled(slot, value)
        square = x * x
        self._learned += 1
        self._norm += total(square)
        error = float(self._mean(np.array([total(self._weight[slot] * x)]))[0]) - reward
        gradient = self._gradient[slot] + (error * error) * square
        rate = s.learning_rate * sqrt(self._learned / self._norm) / np.sqrt(1.0 + gradient)
        step = error / (1.0 + _CURVATURE[s.loss] * total(square * rate))
        # Every slot is there once, so that no step is lost.
        self._weight[slot] -= step * rate * x
        self._scale[slot] = scale
        self._gradient[slot] = gradient
        self._seen[slot] += square

    def _rows(self, context: Features, actions: ActionSet) -> Rows:
        return rows_of(context, actions, self._settings.interactions, self._settings.bits)

    def _scaled(
        self, slot: NDArray[np.intp], value: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(s_i, x_i / s_i) as if these values had been learned already: so that |x_i / s_i| <= 1."""
        scale = np.maximum(self._scale[slot], np.abs(value))
        return scale, value / np.maximum(scale, _TINY)

    def _predict(self, rows: Rows, x: NDArray[np.float64], k: int) -> NDArray[np.float64]:
        """Expected rewards [k] as shares of the range, of rows with these scaled values."""
        common = self._scaled(rows.common, rows.common_value)[1]
        shift = total(self._weight[rows.common] * common)
        return self._mean(shift + sums(rows.row, self._weight[rows.slot] * x, k))

    def _mean(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._settings.loss == "logistic":
            mean: NDArray[np.float64] = expit(
                margin
            )  # one by one: numpy's exp may depend on the place
            return mean
        return np.minimum(np.maximum(margin, 0.0), 1.0)

    def state(self) -> bytes:
        slot = np.flatnonzero(self._seen + self._scale)
        header = {**self._header(), "learned": self._learned, "norm": self._norm}
        columns = {name: getattr(self, f"_{name}")[slot] for name in _COLUMNS}
        return pack(header, {"slot": slot.astype(np.int64), **columns})

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, arrays = unpack(state)
        learned, norm = header.pop("learned", None), header.pop("norm", None)
        if header != self._header():
            raise PolicyError(f"a state of {header}, expected {self._header()}")
        if type(learned) is not int or type(norm) is not float or not norm >= learned >= 0:
            raise PolicyError(f"{cls.name}: a state of {learned} rewards and the norm {norm}")
        slot = slots(arrays, dict.fromkeys(_COLUMNS, "<f4"), 2**self._settings.bits)
        if any((arrays[name] < 0).any() for name in _COLUMNS[1:]):
            raise PolicyError(f"{cls.name}: a state with a negative sum of squares")
        self._learned, self._norm = learned, norm
        for name in _COLUMNS:
            getattr(self, f"_{name}")[slot] = arrays[name]
        return self

    def _header(self) -> dict[str, object]:
        shape = self._settings.model_dump(include=set(self.structural))
        return {"policy": self.name, **shape}
