"""Policies with one flaw each. The contract suite has to catch every one of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from policies.pack import pack, unpack
from policies.plain.epsilon_greedy import EpsilonGreedy
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.policy import PolicySettings
    from policies.types import ActionSet, Features, Interaction


class ScoresNothing(EpsilonGreedy):
    """pmf_is_a_distribution"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        scored = super().pmf(context, actions, seed)
        return Scored(scored.pmf, scored.scores * np.nan)


class HalfTheMass(EpsilonGreedy):
    """pmf_is_a_distribution"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        scored = super().pmf(context, actions, seed)
        return Scored(scored.pmf / 2, scored.scores)


class LearnsWhenAsked(EpsilonGreedy):
    """pmf_changes_no_state"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        self._means.arms.setdefault(actions.ids[0], (1, 0.0))
        for a, (count, mean) in self._means.arms.items():
            self._means.arms[a] = (count + 1, mean)
        return super().pmf(context, actions, seed)


class HasAMood(EpsilonGreedy):
    """pmf_repeats"""

    asked = 0

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        self.asked += 1
        scored = super().pmf(context, actions, seed)
        return Scored(scored.pmf, scored.scores + self.asked)


class Scribbles(EpsilonGreedy):
    """input_is_left_alone"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        context.value[:] = 0.0
        return super().pmf(context, actions, seed)


class ForgetsDigits(EpsilonGreedy):
    """state_round_trips"""

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = super().from_state(settings, reward_range, state)
        self._means.arms = {
            a: (n, float(np.float32(mean))) for a, (n, mean) in self._means.arms.items()
        }
        return self


class CountsItsLoads(EpsilonGreedy):
    """resumed_equals_uninterrupted"""

    loads = 0

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        cls.loads += 1
        return super().from_state(settings, reward_range, state)

    def learn(self, interactions: Sequence[Interaction]) -> None:
        super().learn(interactions)
        self._means.arms = {a: (n + self.loads, mean) for a, (n, mean) in self._means.arms.items()}


class LearnsTheFirst(EpsilonGreedy):
    """batch_equals_single"""

    def learn(self, interactions: Sequence[Interaction]) -> None:
        super().learn(interactions[:1])


class ComparesItself(EpsilonGreedy):
    """other_actions_are_irrelevant"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        scored = super().pmf(context, actions, seed)
        return Scored(scored.pmf, scored.scores - scored.scores.max())


class KnowsWhatItKnows(EpsilonGreedy):
    """actions_come_and_go"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        if self._means.arms:
            _ = [self._means.arms[a] for a in actions.ids]
        return super().pmf(context, actions, seed)


class WantsAChoice(EpsilonGreedy):
    """one_action_is_certain"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        scored = super().pmf(context, actions, seed)
        return Scored(scored.pmf, scored.scores / (len(actions) - 1 or np.nan))


class WantsAContext(EpsilonGreedy):
    """features_are_optional"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        scored = super().pmf(context, actions, seed)
        return Scored(scored.pmf, scored.scores + context.value[0])


class ReadsNames(EpsilonGreedy):
    """names_are_only_names"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        scored = super().pmf(context, actions, seed)
        return Scored(scored.pmf, scored.scores + ["\n" in a for a in actions.ids])


class Explodes(EpsilonGreedy):
    """extremes_do_no_harm"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        scored = super().pmf(context, actions, seed)
        return Scored(scored.pmf, scored.scores + np.exp(np.abs(context.value).sum()))


class CountsToAHundred(EpsilonGreedy):
    """many_actions_are_fine"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        scored = super().pmf(context, actions, seed)
        return Scored(scored.pmf, scored.scores[:100])


class TrustsHash(EpsilonGreedy):
    """processes_agree"""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        scored = super().pmf(context, actions, seed)
        return Scored(scored.pmf, scored.scores + [hash(a) % 97 for a in actions.ids])


class TakesAnyBytes(EpsilonGreedy):
    """damaged_state_is_refused"""

    def state(self) -> bytes:
        return json.dumps(sorted(self._means.arms.items())).encode()

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        pairs: list[Any] = json.loads(state or b"[]")
        self._means.arms = {a: (n, mean) for a, (n, mean) in pairs}
        return self


class TakesAnyPolicy(EpsilonGreedy):
    """foreign_state_is_refused"""

    def state(self) -> bytes:
        return pack({"arms": sorted(self._means.arms.items())}, {})

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        self = cls(settings, reward_range)
        header, _ = unpack(state)
        self._means.arms = {a: (n, mean) for a, (n, mean) in header.get("arms", [])}
        return self


class LikesLosing(EpsilonGreedy):
    """it_learns"""

    def learn(self, interactions: Sequence[Interaction]) -> None:
        super().learn(
            [replace(interaction, reward=-interaction.reward) for interaction in interactions]
        )
