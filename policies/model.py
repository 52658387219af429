"""A policy as it is served: standardised features in, the policy's pmf, the exploration floor mixed in.

This is what a snapshot holds and what `verify` re-derives. Whatever order a request has, the policy sees actions
sorted by id; what it answers is put back into the request's order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from math import isfinite
from operator import le
from typing import TYPE_CHECKING

import numpy as np

from policies.detectors import drift_settings
from policies.drift import Monitor
from policies.exploration import with_floor
from policies.features import NO_FEATURES
from policies.new_actions import NewActions, new_actions_settings
from policies.pack import pack, unpack
from policies.policy import PolicyError
from policies.registry import create, libraries, mixture, restore, settings_of
from policies.standardise import Standardiser, kernel
from policies.sums import totals
from policies.types import ActionSet, Interaction, Scored, in_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from policies.alike import Alike
    from policies.policy import Policy
    from policies.types import Features

FORMAT = 1
# A probability may exceed 1 by the rounding errors of a sum over 1,000 actions: 1,000 x 2^-53 = 1e-13.
_MOST = 1.0 + 1e-12
_ONE_ACTION = ActionSet(("a",), np.zeros(2, np.intp), NO_FEATURES)  # any


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
    drift: Mapping[str, object] | None = None  # {"detector": name, setting: value ...}
    new_actions: Mapping[str, object] | None = None  # {setting: value ...}

    def __post_init__(self) -> None:
        if not 0 <= self.min_exploration <= 1:
            raise PolicyError(f"min_exploration: is {self.min_exploration}; must be in [0, 1]")
        low, high = self.reward_range
        if not (low < high and isfinite(low) and isfinite(high)):
            raise PolicyError(f"reward_range: is {self.reward_range}; must be finite, lowest first")

    def build(self) -> Model:
        """An untrained model.

        Raises:
            PolicyError: the policy's settings are wrong, or those of `drift` or `new_actions`; the message names the setting.
        """
        policy = create(self.policy, self.reward_range)
        monitor = self._monitor()
        residual = monitor is not None and monitor.settings.on == "residual"
        if residual and policy.expected(NO_FEATURES, _ONE_ACTION) is None:
            raise PolicyError(
                f"drift.on: is residual, but {policy.name} expects no rewards that could be compared; choose reward"
            )
        standardiser = Standardiser(kernel() if policy.compiles else None)
        return Model(self, policy, standardiser, monitor, self._new_actions())

    def load(self, state: bytes) -> Model:
        """The model whose `state` this is.

        A state from before `drift` or `new_actions` was set, or set otherwise, is taken, and watching begins afresh.

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
        monitor, new_actions = self._monitor(), self._new_actions()
        drift, counts = arrays.pop("drift", None), arrays.pop("new_actions", None)
        if monitor is not None and drift is not None:
            monitor = Monitor.from_state(monitor.settings, self.reward_range, drift.tobytes())
        if new_actions is not None and counts is not None:
            new_actions = NewActions.from_state(new_actions.settings, counts.tobytes())
        standardiser = Standardiser.from_arrays(arrays, kernel() if policy.compiles else None)
        return Model(self, policy, standardiser, monitor, new_actions)

    def libraries(self) -> list[str]:
        """ "name==version" of everything whose version can change the arithmetic, sorted."""
        more = drift_settings(self.drift).libraries if self.drift is not None else ()
        return sorted({*libraries(self.policy), *(f"{name}=={version(name)}" for name in more)})

    @property
    def mixture(self) -> str:
        """Names what each of `Scored.bases` is of: models whose mixtures are equal may learn from each other's. "" if none are mixed.

        Raises:
            PolicyError: the policy's settings are wrong.
        """
        name = mixture(self.policy)
        # Bases play by the features that they see.
        return f"{name} {self.standardise}" if name else ""

    def _monitor(self) -> Monitor | None:
        if self.drift is None:
            return None
        return Monitor(drift_settings(self.drift), self.reward_range)

    def _new_actions(self) -> NewActions | None:
        return (
            None if self.new_actions is None else NewActions(new_actions_settings(self.new_actions))
        )


class Model:
    """One policy with its standardiser and its floor, and what watches it, if anything does. Not shared between threads."""

    def __init__(
        self,
        spec: ModelSpec,
        policy: Policy,
        standardiser: Standardiser,
        drift: Monitor | None = None,
        new_actions: NewActions | None = None,
    ) -> None:
        self.spec = spec
        self.policy = policy
        self.standardiser = standardiser
        self.drift = drift
        self.new_actions = new_actions

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
        pmf = self._as_played(scored, actions.ids, order.shape)
        if order is back:  # nothing was sorted
            return Scored(pmf, scored.scores, scored.bases)
        bases = None if scored.bases is None else scored.bases[:, back]
        return Scored(pmf[back], scored.scores[back], bases)

    def pmf_alike(self, events: Alike, seeds: Sequence[int]) -> Scored:
        """`pmf` of N events that are alike, to the same bits: arrays with N in front.

        Args:
            events: N >= 1, actions sorted by id.
            seeds: [N] of each event.

        Raises:
            PolicyError: as for `pmf`.
        """
        if self.spec.standardise:
            events = self.standardiser.transform_alike(events)
        scored = self.policy.pmf_alike(events, seeds)
        ids = events.actions.ids
        pmf = self._as_played(scored, ids, (len(events), len(ids)))
        return Scored(pmf, scored.scores, scored.bases)

    def _as_played(
        self, scored: Scored, ids: tuple[str, ...], shape: tuple[int, ...]
    ) -> NDArray[np.float64]:
        """The policy's pmf, [K] or [N, K], with what is mixed into it; K is the number of ids, which are sorted."""
        if scored.pmf.shape != shape or scored.scores.shape != shape:
            raise PolicyError(
                f"{self.policy.name}: {scored.pmf.shape} probabilities and {scored.scores.shape} scores "
                f"for {shape} actions"
            )
        mass = totals(scored.pmf)
        # NaN is the least and the greatest wherever it is, and compares false.
        if not (mass.min() >= 0.99 and mass.max() <= 1.01 and scored.pmf.min() >= 0):
            raise PolicyError(f"{self.policy.name}: probabilities sum to {mass.ravel().tolist()}")
        pmf = scored.pmf / mass
        if self.new_actions is not None:
            pmf = self.new_actions.mix(ids, pmf)
        pmf = with_floor(pmf, self.min_exploration)
        return pmf / totals(pmf)

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64] | None:
        """The reward that the policy expects of each of K actions, in the order given; None if it expects none."""
        _, back, actions = _by_id(actions)
        found = self.policy.expected(*self._standardised(context, actions))
        return None if found is None else found[back]

    @property
    def min_exploration(self) -> float:
        """The floor that holds now: the spec's, or a higher one for a while after drift."""
        floor = self.spec.min_exploration
        return floor if self.drift is None else self.drift.floor(floor)

    @property
    def slotwise(self) -> bool:
        """Whether each slot of a slate is asked for anew; see `Policy.slotwise`."""
        return self.policy.slotwise

    def learn(self, interactions: Sequence[Interaction]) -> None:
        """Learns from interactions, in order: moments first, then the policy. The only thing that changes state.

        Where drift is watched, the detector sees an interaction before the policy learns it, and may have the policy replaced.

        Raises:
            PolicyError: one of them cannot be learned, as its reward is not finite, say; none then is.
        """
        for raw in interactions:
            _check(raw)
        for raw in interactions:
            taken = _in_order(raw)
            if self.spec.standardise:
                context, actions = self.standardiser.take(taken)
                taken = Interaction(
                    context, actions, taken.chosen, taken.pmf, taken.reward, taken.bases
                )
            if self.drift is not None:
                self._watch(taken, self.drift)
            if self.new_actions is not None:
                self.new_actions.learn(taken.actions.ids[taken.chosen])
            self.policy.learn([taken])

    def _watch(self, interaction: Interaction, drift: Monitor) -> None:
        expected = None
        if drift.settings.on == "residual":
            chosen = _chosen(interaction)
            rewards = self.policy.expected(interaction.context, chosen)
            if rewards is None:  # it expects nothing yet, so nothing can be amiss
                return
            expected = float(rewards[0])
        if drift.watch(interaction.reward, expected):
            self.policy = create(self.spec.policy, self.spec.reward_range)

    def state(self) -> bytes:
        """Canonical bytes: equal models give equal bytes in every process."""
        header = {"format": FORMAT, "type": self.policy.name}
        parts = {"policy": self.policy, "drift": self.drift, "new_actions": self.new_actions}
        states = {
            name: np.frombuffer(part.state(), np.uint8)
            for name, part in parts.items()
            if part is not None
        }
        return pack(header, {**self.standardiser.arrays(), **states})

    def reload(self) -> Model:
        """The model as it is after a restart from its own state."""
        return self.spec.load(self.state())

    def _standardised(self, context: Features, actions: ActionSet) -> tuple[Features, ActionSet]:
        if not self.spec.standardise:
            return context, actions
        features = self.standardiser.transform(actions.features)
        if features is not actions.features:  # there are numbers among them
            actions = ActionSet(actions.ids, actions.start, features)
        return self.standardiser.transform(context), actions


def _chosen(interaction: Interaction) -> ActionSet:
    """The chosen action alone. One without features has the same arrays each time, which policies know again."""
    actions, k = interaction.actions, interaction.chosen
    if len(actions.features):
        return actions.only(k)
    return ActionSet((actions.ids[k],), _ONE_ACTION.start, NO_FEATURES)


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
        same = in_order(len(ids))
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
    propensity = interaction.propensity
    if not 0 < propensity <= _MOST:
        raise PolicyError(
            f"pmf[{chosen}]: the chosen action's probability is {propensity}; must be in (0, 1]"
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
