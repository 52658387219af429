"""A policy as it is served: standardised features in, the policy's pmf, the exploration floor mixed in.

This is what a snapshot holds and what `verify` re-derives. Whatever order a request has, the policy sees actions
sorted by id; what it answers is put back into the request's order.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from policies.exploration import total, with_floor
from policies.pack import pack, unpack
from policies.policy import PolicyError
from policies.registry import create, restore
from policies.standardise import Standardiser
from policies.types import ActionSet, Interaction, Scored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from policies.policy import Policy
    from policies.types import Features

FORMAT = 1


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
    reward_range: tuple[float, float] = (-1.0, 1.0)

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
        if header.get("type") != self.policy["type"]:
            raise PolicyError(
                f"a state of {header.get('type')!r}, expected {self.policy['type']!r}"
            )
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

        Raises:
            PolicyError: the policy's probabilities do not sum to 1 within 1%, which is a bug and never renormalised away.
        """
        order = _by_id(actions)
        back = np.argsort(order)
        scored = self.policy.pmf(*self._standardised(context, actions.take(order)), seed)
        mass = total(scored.pmf)
        if not (0.99 <= mass <= 1.01) or scored.pmf.min() < 0:
            raise PolicyError(f"{self.policy.name}: probabilities sum to {mass}")
        pmf = with_floor(scored.pmf / mass, self.spec.min_exploration)
        return Scored((pmf / total(pmf))[back], scored.scores[back])

    def learn(self, interactions: Sequence[Interaction]) -> None:
        """Learns from interactions, in order: moments first, then the policy. The only thing that changes state."""
        for raw in interactions:
            order = _by_id(raw.actions)
            chosen = int(np.argsort(order)[raw.chosen])
            actions = raw.actions.take(order)
            pmf, reward = raw.pmf[order], raw.reward
            if self.spec.standardise:
                self.standardiser.learn(Interaction(raw.context, actions, chosen, pmf, reward))
            context, actions = self._standardised(raw.context, actions)
            self.policy.learn([Interaction(context, actions, chosen, pmf, reward)])

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


def _by_id(actions: ActionSet) -> NDArray[np.intp]:
    """The order that sorts actions by id."""
    ids = actions.ids
    return np.array(sorted(range(len(ids)), key=ids.__getitem__), np.intp)


def state_sha256(state: bytes) -> str:
    """The name of a canonical policy state.

    >>> state_sha256(b"")[:8]
    'e3b0c442'
    """
    return sha256(state).hexdigest()
