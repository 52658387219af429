"""Policies live in an environment: each learns from its own choices only, and what it missed is known.

All policies see the same contexts, the same noise and the same random numbers for their draws, so that their difference scatters
less than either of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from policies import Interaction, ModelSpec
from policies.features import with_slot
from policies.sampler import Purpose, draw, uniform
from policies.sampler import seed as bits
from simulator.intervals.interval import Evidence
from simulator.intervals.normal import normal
from simulator.specs import policy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from policies.model import Model
    from simulator.environments import Environment, Round


@dataclass(frozen=True, slots=True)
class Run:
    """How one policy fared, n rounds."""

    policy: str
    reward: NDArray[np.float64]  # [n] as drawn
    regret: NDArray[
        np.float64
    ]  # [n] expected reward of the best choice minus that of the one made; >= 0

    @property
    def cumulative_reward(self) -> NDArray[np.float64]:
        """[n] rewards so far, this round's included."""
        return np.cumsum(self.reward)

    @property
    def cumulative_regret(self) -> NDArray[np.float64]:
        """[n] regret so far, this round's included."""
        return np.cumsum(self.regret)


def simulate(
    environment: Environment,
    policies: Sequence[str | tuple[str, ModelSpec]],
    rounds: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[Run]:
    """Plays untrained policies, side by side. One seed gives one result, to the bit.

    Args:
        policies: as the command line spells them, with its defaults: standardised, a floor of 5%, the environment's range of rewards; or
            (name for reports, spec).
        rounds: at most; a data set has only so many.
        seed: >= 0, of the environment and of all draws.
        progress: called after each round with their number.

    Returns:
        One for each policy, in the order given.

    Raises:
        PolicyError: a policy's settings are wrong, or it cannot play here.
    """
    named = [_named(each, environment) for each in policies]
    players = [_Player(spec.build(), b"simulate %d" % seed) for _, spec in named]
    rewards: list[list[float]] = [[] for _ in players]
    regrets: list[list[float]] = [[] for _ in players]
    for t, each in enumerate(islice(environment.rounds(np.random.default_rng(seed)), rounds)):
        best = each.best()
        for player, earned, missed in zip(players, rewards, regrets, strict=True):
            chosen = player.play(each, t)
            earned.append(each.earned(chosen))
            missed.append(best - each.expected(chosen))
        if progress is not None:
            progress(t + 1)
    return [
        Run(name, np.array(earned), np.array(missed))
        for (name, _), earned, missed in zip(named, rewards, regrets, strict=True)
    ]


def _named(policy: str | tuple[str, ModelSpec], world: Environment) -> tuple[str, ModelSpec]:
    if not isinstance(policy, str):
        return policy
    return policy, ModelSpec(policy_of(policy, "policy"), reward_range=world.reward_range)


class _Late(NamedTuple):
    """Rewards that are known once round number `due` is decided. Those of one moment are learned in their rounds' order."""

    due: int
    made: int
    interactions: list[Interaction]


class _Player:
    """A model and the rewards that it does not know yet."""

    def __init__(self, model: Model, salt: bytes) -> None:
        self._model = model
        self._salt = salt
        self._waiting: list[_Late] = []

    def play(self, each: Round, t: int) -> list[int]:
        """The action of each slot of round t; learns whatever is known after it."""
        chosen, made = self._choose(each, t)
        seen = made[: each.seen(chosen)]
        heappush(self._waiting, _Late(t + each.delay, t, seen))  # t differs, so no more is compared
        while self._waiting and self._waiting[0].due <= t:
            self._model.learn(heappop(self._waiting).interactions)
        return chosen

    def _choose(self, each: Round, t: int) -> tuple[list[int], list[Interaction]]:
        """Slots are filled from the top, each from what the ones before it left: as the service does."""
        model, event = self._model, str(t)
        left = np.arange(len(each.actions))
        chosen: list[int] = []
        made = []
        for slot in range(each.slots):
            actions = each.actions.take(left) if slot else each.actions
            context = each.context
            if model.slotwise:
                context = with_slot(context, str(slot) if each.slots > 1 else "")
            if slot == 0 or model.slotwise:
                scored = model.pmf(context, actions, bits(self._salt, Purpose.POLICY, slot, event))
                pmf, bases = scored.pmf, scored.bases
            if not pmf.any():  # without a floor: all that had a chance is taken
                pmf = np.full(len(left), 1.0 / len(left))
            pmf = pmf / pmf.sum()
            k = draw(pmf, uniform(self._salt, Purpose.DRAW, slot, event))
            reward = float(each.rewards[left[k]])
            base = None if bases is None else np.minimum(bases[:, k], 1.0)
            made.append(Interaction(context, actions, k, pmf, reward, base))
            chosen.append(int(left[k]))
            left, pmf = np.delete(left, k), np.delete(pmf, k)
            if bases is not None:
                bases = _renormalised(np.delete(bases, k, axis=1))
        return chosen, made


def _renormalised(bases: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of each base's pmf, [B, K]; a base with nothing left is uniform."""
    if not bases.shape[1]:
        return bases
    mass = bases.sum(axis=1, keepdims=True)
    even = np.full_like(bases, 1.0 / bases.shape[1])
    return np.where(mass > 0, bases / np.where(mass > 0, mass, 1.0), even)


class Spread(NamedTuple):
    """A mean over seeds, with its interval; without one where there is but one seed."""

    mean: float
    low: float | None
    high: float | None


def spread(values: NDArray[np.float64], alpha: float = 0.05) -> Spread:
    """Mean and Student's t interval of values [S] of independent seeds; of paired differences, the paired interval.

    >>> spread(np.array([1.0, 2.0, 3.0])).mean
    2.0
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Spread(mean, None, None)
    interval = normal(Evidence(values), alpha)
    return Spread(mean, interval.low, interval.high)
