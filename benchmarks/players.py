"""Policies of every make behind one face: decide on x, learn from a reward. Ours, and six peers through their documented API.

Nothing of a peer is changed or switched off. This file runs in the peer's own virtual environment, which has numpy, the peer
and nothing of ours: libraries are imported where a player is made.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from policies import ActionSet, Features


_TORCH = (
    "torch",
    "torch.nn",
    "torch.nn.functional",
    "torch.optim",
    "torch.utils",
    "torch.utils.data",
)


class _Torch(ModuleType):
    """Stands in for torch where obp imports it: its classes are empty."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {}) if name[0].isupper() else _Torch(name)


@contextmanager
def stand_in_for_torch() -> Iterator[None]:
    """`import obp` imports torch, 2 GB that what is used of it here never touches."""
    sys.modules.update({name: _Torch(name) for name in _TORCH})
    yield
    # Where they stayed, scipy would ask them whether an array is one of theirs.
    for name in _TORCH:
        del sys.modules[name]


class Player(ABC):
    """A contextual bandit over K actions without features of their own."""

    @abstractmethod
    def decide(self, x: NDArray[np.float64], seed: int) -> int | NDArray[np.float64]:
        """The action, or the pmf [K] from which to draw it.

        Args:
            x: [d] the context.
            seed: 64 random bits of this round, for a policy that has no random numbers of its own.
        """

    @abstractmethod
    def learn(
        self, x: NDArray[np.float64], k: int, reward: float, pmf: NDArray[np.float64]
    ) -> None:
        """Takes in what action k earned, which was drawn from pmf [K]."""


class Rankd(Player):
    """One of ours, through the interface that the service uses.

    Settings:
        policy: {"type": name, setting: value ...}
        low, high: the reward range.
        standardise: whether x are named numbers, standardised online; else x is one dense vector, taken as it is.
        drift: of the model, see ModelSpec.
        draw: decide by `policy.draw`, which gives an action and no pmf.
    """

    def __init__(self, actions: int, size: int, seed: int, settings: Mapping[str, Any]) -> None:
        from policies import Interaction, ModelSpec
        from policies.registry import create

        self._interaction = Interaction
        policy, limits = settings["policy"], (settings["low"], settings["high"])
        self._bases: NDArray[np.float64] | None = None
        standardise, drift = settings.get("standardise", False), settings.get("drift")
        if standardise or drift:
            more = {"drift": drift} if drift else {}
            self._policy: Any = ModelSpec(
                policy, standardise, min_exploration=0.0, reward_range=limits, **more
            ).build()
        else:
            self._policy = create(policy, limits)
        self._draw = settings.get("draw", False)
        self._context, self._actions = encoded(actions, size, standardise)

    def decide(self, x: NDArray[np.float64], seed: int) -> int | NDArray[np.float64]:
        context = self._context.with_value(x)
        if self._draw:
            return int(self._policy.draw(context, self._actions, seed))
        scored = self._policy.pmf(context, self._actions, seed)
        self._bases = scored.bases
        pmf: NDArray[np.float64] = scored.pmf
        return pmf

    def learn(
        self, x: NDArray[np.float64], k: int, reward: float, pmf: NDArray[np.float64]
    ) -> None:
        context = self._context.with_value(x)
        bases = None if self._bases is None else self._bases[:, k]
        self._policy.learn([self._interaction(context, self._actions, k, pmf, reward, bases)])


def encoded(actions: int, size: int, named: bool) -> tuple[Features, ActionSet]:
    """A context of `size` numbers, named or as one vector, whose values are still to come, and the actions."""
    from policies.features import encode_actions, encode_context

    names = [f"x{j:04}" for j in range(size)]
    given = _Numbers(names if named else [], size)
    context = encode_context([given])
    return context, encode_actions([f"{k:04}" for k in range(actions)], [])


class _Numbers:
    """Named numbers, or one vector, in the shape that `encode_context` reads."""

    def __init__(self, names: list[str], size: int) -> None:
        self.namespace = ""
        self.numeric_names = names
        self.numeric_values = [0.0] * len(names)
        self.categorical_names: list[str] = []
        self.categorical_values: list[str] = []
        self.vector_names = [] if names else ["x"]
        self.vector_sizes = [] if names else [size]
        self.vector_data = b"" if names else np.zeros(size, "<f4").tobytes()


class Obp(Player):
    """obp 0.5.7: LinUCB (whose `epsilon` is the width of its bound) or LinTS."""

    def __init__(self, actions: int, size: int, seed: int, settings: Mapping[str, Any]) -> None:
        with stand_in_for_torch():
            from obp import policy

        given = dict(settings)
        make = getattr(policy, given.pop("policy"))
        self._policy = make(dim=size, n_actions=actions, random_state=seed, **given)

    def decide(self, x: NDArray[np.float64], seed: int) -> int:
        return int(self._policy.select_action(x[np.newaxis])[0])

    def learn(
        self, x: NDArray[np.float64], k: int, reward: float, pmf: NDArray[np.float64]
    ) -> None:
        self._policy.update_params(action=k, reward=reward, context=x[np.newaxis])


class MabWiser(Player):
    """mabwiser: LinUCB or LinTS. It predicts nothing before its first reward, so the first action is the first."""

    def __init__(self, actions: int, size: int, seed: int, settings: Mapping[str, Any]) -> None:
        from mabwiser.mab import MAB, LearningPolicy

        given = dict(settings)
        rule = getattr(LearningPolicy, given.pop("policy"))(**given)
        # Its seeds are 32 bits wide.
        self._mab = MAB(list(range(actions)), rule, seed=seed % 2**31)
        self._untrained = True

    def decide(self, x: NDArray[np.float64], seed: int) -> int:
        return 0 if self._untrained else int(self._mab.predict(x[np.newaxis]))

    def learn(
        self, x: NDArray[np.float64], k: int, reward: float, pmf: NDArray[np.float64]
    ) -> None:
        self._untrained = False
        self._mab.partial_fit([k], [reward], x[np.newaxis])


class RiverBandit(Player):
    """river.bandit.LinUCBDisjoint, its only contextual policy."""

    def __init__(self, actions: int, size: int, seed: int, settings: Mapping[str, Any]) -> None:
        from river.bandit import LinUCBDisjoint

        self._policy: Any = LinUCBDisjoint(seed=seed, **settings)
        self._actions: list[int | str] = list(range(actions))

    def decide(self, x: NDArray[np.float64], seed: int) -> int:
        return int(self._policy.pull(self._actions, context=dict(enumerate(x.tolist()))))

    def learn(
        self, x: NDArray[np.float64], k: int, reward: float, pmf: NDArray[np.float64]
    ) -> None:
        self._policy.update(k, dict(enumerate(x.tolist())), reward)


class Coba(Player):
    """coba's LinUCBLearner over the products of x and one-hot actions, which makes it disjoint."""

    def __init__(self, actions: int, size: int, seed: int, settings: Mapping[str, Any]) -> None:
        from coba.learners import LinUCBLearner

        self._learner = LinUCBLearner(seed=seed, **settings)
        self._actions = [tuple(row) for row in np.eye(actions, dtype=int).tolist()]
        self._place = {action: k for k, action in enumerate(self._actions)}

    def decide(self, x: NDArray[np.float64], seed: int) -> int:
        return self._place[self._learner.predict(x.tolist(), self._actions)[0]]

    def learn(
        self, x: NDArray[np.float64], k: int, reward: float, pmf: NDArray[np.float64]
    ) -> None:
        self._learner.learn(x.tolist(), self._actions[k], reward, float(pmf[k]))


class ContextualBandits(Player):
    """contextualbandits.online.LinUCB: of its policies the one that learns row by row without another library's classifier."""

    def __init__(self, actions: int, size: int, seed: int, settings: Mapping[str, Any]) -> None:
        from contextualbandits.online import LinUCB

        self._policy = LinUCB(actions, random_state=seed % 2**31, **settings)

    def decide(self, x: NDArray[np.float64], seed: int) -> int:
        return int(self._policy.predict(x[np.newaxis])[0])

    def learn(
        self, x: NDArray[np.float64], k: int, reward: float, pmf: NDArray[np.float64]
    ) -> None:
        self._policy.partial_fit(x[np.newaxis], np.array([k]), np.array([reward]))


class VowpalWabbit(Player):
    """vowpalwabbit from text examples: context in namespace c, an action's one feature in namespace a."""

    def __init__(self, actions: int, size: int, seed: int, settings: Mapping[str, Any]) -> None:
        from vowpalwabbit import Workspace

        self._vw = Workspace(f"{settings['args']} --quiet --random_seed {seed % 2**31}")
        self._actions = [f"|a a{k}" for k in range(actions)]

    def decide(self, x: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
        pmf: NDArray[np.float64] = np.array(self._vw.predict([self._shared(x), *self._actions]))
        pmf /= pmf.sum()
        return pmf

    def learn(
        self, x: NDArray[np.float64], k: int, reward: float, pmf: NDArray[np.float64]
    ) -> None:
        lines = [self._shared(x), *self._actions]
        lines[k + 1] = f"0:{-reward}:{pmf[k]} {self._actions[k]}"
        self._vw.learn(lines)

    def _shared(self, x: NDArray[np.float64]) -> str:
        return "shared |c " + " ".join([f"{j}:{value:.6g}" for j, value in enumerate(x.tolist())])


PLAYERS: dict[str, type[Any]] = {
    "rankd": Rankd,
    "obp": Obp,
    "mabwiser": MabWiser,
    "river": RiverBandit,
    "coba": Coba,
    "contextualbandits": ContextualBandits,
    "vowpalwabbit": VowpalWabbit,
}
