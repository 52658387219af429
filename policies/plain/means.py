"""The mean reward of each action, with or without forgetting, and what all policies on such means have in common.

Forgetting: by discount, the weight of a reward falls by the factor `discount` with every interaction that is learned after it
(Garivier & Moulines 2011, "On Upper-Confidence Bound Policies for Switching Bandit Problems", D-UCB); by window, only the
last `window` interactions count (the same, SW-UCB).
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from itertools import islice
from math import fsum
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from policies.pack import pack, unpack
from policies.policy import Policy, PolicyError, PolicySettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from policies.types import ActionSet, Features, Interaction, Scored

# Weights are kept multiplied by 1 / discount for each interaction, and are all made smaller where that exceeds 2^300: by a
# power of two, which changes no bit of a mean.
_RESCALE = 2.0**300
# Then an action whose weight is below this is forgotten altogether.
_NOTHING = 2.0**-100


class MeansSettings(PolicySettings):
    """What every policy on means can be told."""

    discount: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="Factor by which the weight of what was learned falls with every interaction. 1 never forgets; "
        "1 - 1/n remembers about n interactions.",
    )
    window: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Only so many of the last interactions count. 0: all do. Learning takes time in proportion.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.discount < 1.0 and self.window:
            raise ValueError("discount and window: choose one way of forgetting")
        return self


class Means:
    """Weight and mean reward of each action."""

    def __init__(self, discount: float, window: int) -> None:
        self._discount = discount
        self._window = window
        self._scale = 1.0  # the weight of the interaction learned last
        self._total = 0.0  # of all weights
        self.arms: dict[str, tuple[float, float]] = {}  # id -> (weight, mean)
        self._last: deque[str] = deque()  # the actions in the window, oldest first
        self._rewards: dict[str, deque[float]] = {}  # of each of them

    def learn(self, action: str, reward: float) -> None:
        """Takes in one reward."""
        if self._window:
            self._slide(action, reward)
            return
        if self._discount < 1.0:
            self._scale /= self._discount
            if self._scale > _RESCALE:
                self._rescale()
        weight, mean = self.arms.get(action, (0.0, 0.0))
        weight += self._scale
        self.arms[action] = (weight, mean + (reward - mean) * self._scale / weight)
        self._total += self._scale

    def of(self, ids: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(weight [K], mean [K]) of these actions: the number of rewards and their mean, where nothing is forgotten."""
        found = [self.arms.get(action, (0.0, 0.0)) for action in ids]
        weight, mean = np.array(found).T
        return weight / self._scale, mean

    @property
    def total(self) -> float:
        """Weight of all actions together."""
        return self._total / self._scale

    def _slide(self, action: str, reward: float) -> None:
        self._last.append(action)
        self._rewards.setdefault(action, deque()).append(reward)
        if len(self._last) > self._window:
            oldest = self._last.popleft()
            self._rewards[oldest].popleft()
            self._sum_up(oldest)
        self._sum_up(action)
        self._total = float(len(self._last))

    def _sum_up(self, action: str) -> None:
        """Exactly, and anew: sums from which rewards are taken away again would drift."""
        rewards = self._rewards.get(action)
        if rewards:
            self.arms[action] = (float(len(rewards)), fsum(rewards) / len(rewards))
        elif rewards is not None:
            del self._rewards[action], self.arms[action]

    def _rescale(self) -> None:
        self._scale /= _RESCALE
        self._total /= _RESCALE
        self.arms = {
            action: (weight / _RESCALE, mean)
            for action, (weight, mean) in self.arms.items()
            if weight / _RESCALE > _NOTHING * self._scale
        }

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays, for `pack`."""
        ids = sorted(self.arms)
        if self._window:
            places = {action: i for i, action in enumerate(ids)}
            return {"ids": ids}, {
                "action": np.array([places[action] for action in self._last], np.int64),
                "reward": np.array([r for action in ids for r in self._rewards[action]]),
            }
        weight = np.array([self.arms[action][0] for action in ids])
        arrays = {"mean": np.array([self.arms[action][1] for action in ids])}
        if self._discount == 1.0:
            return {"ids": ids}, {"count": weight.astype(np.int64), **arrays}
        clock = np.array([self._scale, self._total])
        return {"ids": ids}, {"weight": weight, "clock": clock, **arrays}

    def load(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes on what `dump` gave.

        Raises:
            ValueError, KeyError, TypeError: it did not.
        """
        ids = header["ids"]
        if ids != sorted(set(ids)) or not all(isinstance(action, str) for action in ids):
            raise ValueError("ids are out of order")
        if any(not np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("a number is not finite")
        if self._window:
            self._load_window(ids, **arrays)
            return
        if self._discount < 1.0:
            self._scale, self._total = arrays["clock"].tolist()
            weight = arrays["weight"]
        else:
            weight = arrays["count"].astype(np.float64)
            self._total = float(arrays["count"].sum())
        if not ((weight > 0).all() and self._scale >= 1.0 and self._total >= 0):
            raise ValueError("a weight is not above 0")
        pairs = zip(weight.tolist(), arrays["mean"].tolist(), strict=True)
        self.arms = dict(zip(ids, pairs, strict=True))

    def _load_window(
        self, ids: list[str], action: NDArray[np.int64], reward: NDArray[np.float64]
    ) -> None:
        if len(action) > self._window or set(action.tolist()) != set(range(len(ids))):
            raise ValueError("the window is not one of these actions")
        if len(action) != len(reward):
            raise ValueError("not every interaction has a reward")
        self._last = deque(ids[place] for place in action.tolist())
        self._total = float(len(self._last))
        counts = np.bincount(action, minlength=len(ids)).tolist()
        rewards = iter(reward.tolist())
        for each, count in zip(ids, counts, strict=True):
            self._rewards[each] = deque(islice(rewards, count))
            self._sum_up(each)


class MeansPolicy(Policy):
    """A policy that knows of each action how often it was played and what it earned, and nothing else.

    State: weight and mean of each action id that was learned: 16 bytes and the id; with a window, the last rewards: 16
    bytes each.
    """

    Settings = MeansSettings
    structural = frozenset({"discount", "window"})

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        assert isinstance(settings, MeansSettings)
        self._reward_range = reward_range
        self._means = Means(settings.discount, settings.window)

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        return self.choose(actions.ids, *self._means.of(actions.ids), self._means.total)

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64]:
        return self.mean_rewards(actions.ids, *self._means.of(actions.ids))

    @abstractmethod
    def mean_rewards(
        self, ids: Sequence[str], weight: NDArray[np.float64], mean: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The rewards [K] that these actions are expected to earn; arguments as of `choose`."""

    @abstractmethod
    def choose(
        self,
        ids: Sequence[str],
        weight: NDArray[np.float64],
        mean: NDArray[np.float64],
        total: float,
    ) -> Scored:
        """The probabilities over K actions.

        Args:
            ids: [K] of the actions.
            weight: [K] how many rewards each has, forgotten ones left out; 0 where none came yet.
            mean: [K] of these; meaningless where the weight is 0.
            total: weight of all actions that were ever learned, others than these K too.
        """

    def learn(self, interactions: Sequence[Interaction]) -> None:
        for interaction in interactions:
            self._means.learn(interaction.actions.ids[interaction.chosen], interaction.reward)

    def state(self) -> bytes:
        header, arrays = self._means.dump()
        return pack({"policy": self.name, **header}, arrays)

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, arrays = unpack(state)
        if header.get("policy") != cls.name:
            raise PolicyError(f"a state of {header.get('policy')!r}, expected {cls.name!r}")
        try:
            self._means.load(header, arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(f"not a state of {cls.name}: {error}") from error
        return self


class PriorSettings(MeansSettings):
    """What is known of an action before its first reward."""

    prior: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Where the mean of an action that was never tried is taken to be in the reward range: 0 is the lowest "
        "reward, 1 the highest.",
    )
    priors: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] = Field(
        default={}, description="The same for single actions, by their ids."
    )
    prior_weight: float = Field(
        default=1.0, gt=0.0, le=1e6, description="How many rewards that counts as."
    )


class PriorPolicy(MeansPolicy):
    """A policy on means to which every action begins with some rewards that it never had.

    Means are taken as numbers in [0, 1], the lowest and the highest reward that the app accepts.
    """

    Settings = PriorSettings

    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        super().__init__(settings, reward_range)
        assert isinstance(settings, PriorSettings)
        self._settings = settings

    def mean_rewards(
        self, ids: Sequence[str], weight: NDArray[np.float64], mean: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        low, high = self._reward_range
        return low + (high - low) * self._shrunk(ids, weight, mean)

    def _shrunk(
        self, ids: Sequence[str], weight: NDArray[np.float64], mean: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Means with the prior's rewards among them, [K]."""
        s = self._settings
        low, high = self._reward_range
        unit = np.minimum(np.maximum((mean - low) / (high - low), 0.0), 1.0)
        prior = np.array([s.priors.get(action, s.prior) for action in ids])
        return (weight * unit + s.prior_weight * prior) / (weight + s.prior_weight)
