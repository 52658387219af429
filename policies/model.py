"""A policy as it is served: standardised features in, the policy's pmf, the exploration floor mixed in.

This is what a snapshot holds and what `verify` re-derives. Whatever order a request has, the policy sees actions
sorted by id; what it answers is put back into the request's order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from math import isfinite
from operator import le
from typing import TYPE_CHECKING

import numpy as np

from policies.exploration import total, with_floor
from policies.pack import pack, unpack
from policies.policy import PolicyError
from policies.registry import create, restore, settings_of
from policies.standardise import Standardiser
from policies.types import ActionSet, Scored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from policies.policy import Policy
    from policies.types import Features, Interaction

FORMAT = 1
# A probability may exceed 1 by the rounding errors of a sum over 1,000 actions: 1,000 x 2^-53 = 1e-13.
_MOST = 1.0 + 1e-12


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything but the log that determines a model.

    >>> spec = ModelSpec({"type": "linucb", "alpha": 0.5})
    >>> spec.min_exploration
    0.05
    """

    policy: Mapping[str, object]  # {"type": name, setting: value ...}
    standardise: bool = True
    min_exploration: float = 0.05  # in [0, 1], share of decisions that is spread uniformly
    reward_range: tuple[float, float] = (-1.0, 1.0)  # (lowest, highest) that the app accepts

    def __post_init__(self) -> None:
        if not 0 <= self.min_exploration <= 1:
            raise PolicyError(f"min_exploration: is {self.min_exploration}; must be in [0, 1]")
        low, high = self.reward_range
        if not (low < high and isfinite(low) and isfinite(high)):
            raise PolicyError(f"reward_range: is {self.reward_range}; must be finite, lowest first")

    def build(self) -> Model:
        """An untrained model.

        Raises:
            PolicyError: the policy's settings are wrong; the message names the setting.
        """
        return Model(self, create(self.policy, self.reward_range), Standardiser())

    def load(self, state: bytes) -> Model:
        """The model whose `state` this is.

        Raises:
            PolicyError: it is not a state of this spec's policy.
        """
        header, arrays = unpack(state)
        if header.get("format") != FORMAT:
            raise PolicyError(f"model state has format {header.get('format')}, expected {FORMAT}")
        expected = settings_of(self.policy)[0].name
        if header.get("type") != expected or "policy" not in arrays:
            raise PolicyError(f"a state of {header.get('type')!r}, expected {expected!r}")
        inner = arrays.pop("policy").tobytes()
        policy = restore(self.policy, self.reward_range, inner)
        return Model(self, policy, Standardiser.from_arrays(arrays))


class Model:
    """One policy with its standardiser and its floor. Not shared between threads."""

    def __init__(self, spec: ModelSpec, policy: Policy, standardiser: Standardiser) -> None:
        self.spec = spec
        self.policy = policy
        self.standardiser = standardiser

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        """Probabilities and scores of K >= 1 eligible actions, in the order given. Changes no state.

        Args:
            context: of the event.
            actions: the K eligible actions.
            seed: 64 random bits that belong to this event (sampler.seed, Purpose.POLICY).

        Raises:
            PolicyError: the policy's probabilities are not K numbers that sum to 1 within 1%, which is a bug and
                never renormalised away.
        """
        order, back, actions = _by_id(actions)
        scored = self.policy.pmf(*self._standardised(context, actions), seed)
        if scored.pmf.shape != order.shape or scored.scores.shape != order.shape:
            raise PolicyError(
                f"{self.policy.name}: {len(scored.pmf)} probabilities and {len(scored.scores)} scores "
                f"for {len(order)} actions"
            )
        mass = total(scored.pmf)
        if not (0.99 <= mass <= 1.01 and scored.pmf.min() >= 0):
            raise PolicyError(f"{self.policy.name}: probabilities sum to {mass}")
        pmf = with_floor(scored.pmf / mass, self.spec.min_exploration)
        bases = None if scored.bases is None else scored.bases[:, back]
        return Scored((pmf / total(pmf))[back], scored.scores[back], bases)

    @property
    def slotwise(self) -> bool:
        """Whether each slot of a slate is asked for anew; see `Policy.slotwise`."""
        return self.policy.slotwise

    def learn(self, interactions: Sequence[Interaction]) -> None:
        """Learns from interactions, in order: moments first, then the policy. The only thing that changes state.

        Raises:
            PolicyError: one of them cannot be learned, as its reward is not finite, say; none then is.
        """
        for raw in interactions:
            _check(raw)
        for raw in interactions:
            taken = _in_order(raw)
            if self.spec.standardise:
                self.standardiser.learn(taken)
            context, actions = self._standardised(taken.context, taken.actions)
            self.policy.learn([replace(taken, context=context, actions=actions)])

    def state(self) -> bytes:
        """Canonical bytes: equal models give equal bytes in every process."""
        inner = np.frombuffer(self.policy.state(), np.uint8)
        header = {"format": FORMAT, "type": self.policy.name}
        return pack(header, {**self.standardiser.arrays(), "policy": inner})

    def reload(self) -> Model:
        """The model as it is after a restart from its own state."""
        return self.spec.load(self.state())

    def _standardised(self, context: Features, actions: ActionSet) -> tuple[Features, ActionSet]:
        if not self.spec.standardise:
            return context, actions
        features = self.standardiser.transform(actions.features)
        return self.standardiser.transform(context), ActionSet(actions.ids, actions.start, features)


def _in_order(raw: Interaction) -> Interaction:
    """The interaction with its actions sorted by id."""
    if _sorted(raw.actions.ids):
        return raw
    order, back, actions = _by_id(raw.actions)
    return replace(raw, actions=actions, chosen=int(back[raw.chosen]), pmf=raw.pmf[order])


def _sorted(ids: tuple[str, ...]) -> bool:
    return all(map(le, ids, ids[1:]))


def _by_id(
    actions: ActionSet,
) -> tuple[NDArray[np.intp], NDArray[np.intp], ActionSet]:
    """(the order that sorts actions by id, the order that undoes it, the sorted actions)."""
    ids = actions.ids
    if _sorted(ids):  # as rankd has them anyway
        same = np.arange(len(ids))
        return same, same, actions
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.intp)
    return order, np.argsort(order), actions.take(order)


def _check(interaction: Interaction) -> None:
    """Refuses what would poison a model for ever: one NaN in a weight never goes away."""
    chosen, count = interaction.chosen, len(interaction.actions)
    if not isfinite(interaction.reward):
        raise PolicyError(f"reward: is {interaction.reward}; must be finite")
    if not (0 <= chosen < count == len(interaction.pmf)):
        raise PolicyError(
            f"chosen: is {chosen} among {count} actions with {len(interaction.pmf)} probabilities"
        )
    if not 0 < interaction.propensity <= _MOST:
        raise PolicyError(
            f"pmf[{chosen}]: the chosen action's probability is {interaction.propensity}; must be in (0, 1]"
        )
    bases = interaction.bases
    if bases is not None and not all(0.0 <= p <= _MOST for p in bases.tolist()):
        raise PolicyError(f"bases: are {bases}; probabilities must be in [0, 1]")


def state_sha256(state: bytes) -> str:
    """The name of a canonical policy state.

    >>> state_sha256(b"")[:8]
    'e3b0c442'
    """
    return sha256(state).hexdigest()
