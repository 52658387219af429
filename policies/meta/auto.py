"""A mixture of policies, which learns whom to follow, and a policy of its own on what all of them expect.

pmf = sum over i of w_i * base_i: the log holds the mixture's pmf and what each base gave, so `weights` can tell what each
would have earned (EXP4 and its successors, see there). Every base learns from every decision, whoever drew it.

The last of the bases, `stack`, combines the rewards that the others expect (`stacking`) and plays the greatest upper bound:

    score(a) = sum over j of v_j * expected_j(a) + max(v_j, 0) * (score_j(a) - expected_j(a))

the second term being the optimism of those bases that have any, each as far as it is believed. It soon expects as well as
the best of them, often better, and so gets most of the weight from the beginning.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field, JsonValue, field_validator

from policies.exploration import greedy
from policies.meta.stacking import Stacking
from policies.meta.weights import Weights
from policies.pack import pack, unpack
from policies.policy import About, Policy, PolicyError, PolicySettings
from policies.registry import create, restore, settings_of
from policies.sums import total
from policies.types import Scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.types import ActionSet, Features, Interaction

# Expectations beyond this many times the greatest reward are nonsense, and are taken as that.
_NONSENSE = 2.0
# Most policies in a mixture: each costs its own time and memory in every decision.
_MOST = 16

# They err in different ways: lines per action, trusted sooner and later (ridge), neighbours, and steps along gradients, which
# know an action by its features, too. Chosen on digits, ImageSegments, breast cancer, LetterRecognition, Satellite, DNA, Vehicle
# and Vowel.
_DEFAULT: tuple[dict[str, JsonValue], ...] = (
    {"type": "linucb"},
    {"type": "linucb", "ridge": 10.0},
    {"type": "kernel"},
    {"type": "sgd"},
)


class AutoSettings(PolicySettings):
    """Settings of a mixture."""

    bases: tuple[dict[str, JsonValue], ...] = Field(
        default=_DEFAULT,
        min_length=1,
        max_length=_MOST,
        description="The policies that are mixed, each as an app's policy is configured: {type: ..., setting: ...}. Each costs "
        "its own time and memory. Add one that knows something the others do not, such as the actions' features.",
    )
    stack: bool = Field(
        default=True,
        description="Whether one policy more plays what the bases expect together. Without it, auto follows single bases only.",
    )
    stack_prior: float = Field(
        default=0.95,
        gt=0.0,
        lt=1.0,
        description="Share of decisions that is the stack's until rewards tell; the rest is spread over the bases.",
    )
    learning_rate: float = Field(
        default=0.5,
        ge=0.0,
        le=100.0,
        description="How fast weights follow differences in reward: the logarithm by which a base that is one "
        "standard error behind loses weight. 2 follows chance as well; 0 leaves them as they are at first.",
    )
    discount: float = Field(
        default=0.999,
        gt=0.0,
        le=1.0,
        description="Factor by which what was learned about the bases, not by them, fades with every interaction. "
        "0.999 remembers about a thousand; 1 never forgets, for worlds that never change.",
    )
    floor: float = Field(
        default=0.01,
        gt=0.0,
        le=1.0,
        description="Share of decisions that is spread evenly over all bases, so that one that becomes good is found. "
        "It costs what worse bases earn less, and explores.",
    )

    @field_validator("bases")
    @classmethod
    def _known(cls, bases: tuple[dict[str, JsonValue], ...]) -> tuple[dict[str, JsonValue], ...]:
        for i, spec in enumerate(bases):
            try:
                settings_of(spec)
            except PolicyError as error:
                raise PolicyError(f"bases[{i}].{error}") from error
        return bases


class Auto(Policy):
    """Runs several policies beside each other, follows whichever earns most, and combines what they expect.

    State: those of the bases, n^2 + 2 n + 5 numbers for n of them.

    scores: of the stack, if there is one: the expected reward and its bonus; otherwise the weighted mean of the bases'
    scores.
    """

    name = "auto"
    version = 2  # 1 was given what other bases had given, where as many were mixed
    about = About(
        paper="Auer, Cesa-Bianchi, Freund & Schapire 2002, The Nonstochastic Multiarmed Bandit Problem (EXP4); Breiman 1996, "
        "Stacked Regressions",
        when="When you do not know which policy suits. It costs the time and memory of all its bases.",
        exploration="As much as its bases, and where they disagree. floor keeps all of them in play; the bases' own alpha "
        "widens their bounds.",
    )
    Settings = AutoSettings
    structural = frozenset({"bases", "stack"})
    nested: ClassVar[str] = "bases"
    """The setting that holds configurations of other policies: for `registry.same_shape` and `registry.libraries`."""

    def __init__(
        self,
        settings: PolicySettings,
        reward_range: tuple[float, float],
        bases: Sequence[Policy] | None = None,
    ) -> None:
        assert isinstance(settings, AutoSettings)
        self._settings = settings
        self._bases = (
            [create(spec, reward_range) for spec in settings.bases]
            if bases is None
            else list(bases)
        )
        self.slotwise = any(base.slotwise for base in self._bases)
        self.scores_jointly = any(base.scores_jointly for base in self._bases)
        self._scale = max(abs(reward) for reward in reward_range)
        # Those that expect rewards.
        self._models = [base for base in self._bases if type(base).expected is not Policy.expected]
        self._stack = Stacking(len(self._models)) if settings.stack and self._models else None
        self._weights = Weights(self._prior())

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        bases, scores = self._ask(context, actions, seed)
        weights = self._current()
        pmf = _mixed(weights, bases)
        ranked = scores[-1] if self._stack else _mixed(weights, scores)
        return Scored(pmf, ranked, bases)

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64] | None:
        """What the stack expects; without one, the mean of the bases that expect something; None if none does."""
        if not self._models:
            return None
        stack = self._stack or Stacking(len(self._models))
        return stack.combine(np.array(self._expected(context, actions))) * self._scale

    def learn(self, interactions: Sequence[Interaction]) -> None:
        for interaction in interactions:
            self._follow(interaction)
            own = [replace(interaction, bases=None)]
            for base in self._bases:
                base.learn(own)

    def report(self) -> dict[str, float]:
        """Each base's weight, for people: {"weight.linucb": 0.4, "weight.linucb-2": 0.1, "weight.stack": 0.5}."""
        names, seen = [], Counter[str]()
        for base in self._bases:
            seen[base.name] += 1
            names.append(base.name if seen[base.name] == 1 else f"{base.name}-{seen[base.name]}")
        if self._stack:
            names.append("stack")
        return {f"weight.{name}": w for name, w in zip(names, self._current(), strict=True)}

    def _follow(self, interaction: Interaction) -> None:
        """Takes one reward into the weights and the stack, before any base learns it."""
        k, now = interaction.chosen, self._current()
        given = interaction.bases
        if given is None or len(given) != len(now):
            # Of another policy, or another mixture: what the bases would give now. No seed is known, so it is 0.
            given = self._ask(interaction.context, interaction.actions, 0)[0][:, k]
        reward, discount = interaction.reward / self._scale, self._settings.discount
        if self._stack:
            chosen = interaction.actions.only(k)
            z = [float(each[0]) for each in self._expected(interaction.context, chosen)]
            self._stack.learn(z, reward, discount)
        self._weights.learn(now, given.tolist(), interaction.propensity, reward, discount)

    def _ask(
        self, context: Features, actions: ActionSet, seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(pmf, scores) of each base and, last, of the stack: each [m, K]."""
        pmfs, scores = [], []
        for i, base in enumerate(self._bases):
            scored = base.pmf(context, actions, _seed(seed, i))
            mass = total(scored.pmf)
            if not (0.99 <= mass <= 1.01 and scored.pmf.min() >= 0):
                raise PolicyError(f"bases[{i}]: {base.name}'s probabilities sum to {mass}")
            pmfs.append(scored.pmf / mass)
            scores.append(scored.scores)
        if self._stack:
            own = [s for base, s in zip(self._bases, scores, strict=True) if base in self._models]
            expected = self._expected(context, actions)
            optimism = np.zeros(len(actions))
            for v, score, mean in zip(self._stack.weights, own, expected, strict=True):
                bonus = np.maximum(score / self._scale - mean, 0.0)
                optimism = optimism + max(v, 0.0) * bonus
            bound = self._stack.combine(np.array(expected)) + optimism
            pmfs.append(greedy(bound))
            scores.append(bound * self._scale)
        return np.array(pmfs), np.array(scores)

    def _expected(self, context: Features, actions: ActionSet) -> list[NDArray[np.float64]]:
        """What each model expects, [K], in units of the greatest reward."""
        found = []
        for model in self._models:
            z = model.expected(context, actions)
            if z is None:
                z = np.zeros(len(actions))
            found.append(np.minimum(np.maximum(z / self._scale, -_NONSENSE), _NONSENSE))
        return found

    def _current(self) -> list[float]:
        return self._weights.current(self._settings.learning_rate, self._settings.floor)

    def _prior(self) -> list[float]:
        n = len(self._bases)
        if not self._stack:
            return [1.0 / n] * n
        share = self._settings.stack_prior
        return [(1.0 - share) / n] * n + [share]

    def state(self) -> bytes:
        arrays = self._weights.dump()
        if self._stack:
            arrays |= self._stack.dump()
        for i, base in enumerate(self._bases):
            arrays[f"base.{i}"] = np.frombuffer(base.state(), np.uint8)
        return pack(self._header(), arrays)

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        assert isinstance(settings, AutoSettings)
        header, arrays = unpack(state)
        bases = [
            restore(spec, reward_range, arrays[f"base.{i}"].tobytes())
            for i, spec in enumerate(settings.bases)
            if f"base.{i}" in arrays
        ]
        self = cls(settings, reward_range, bases or None)
        expected = self._header()
        if header != expected or len(bases) != len(settings.bases):
            raise PolicyError(f"a state of {header}, expected {expected}")
        try:
            self._weights = Weights.load(self._prior(), arrays)
            if self._stack:
                self._stack = Stacking.load(len(self._models), arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise PolicyError(f"not a state of {cls.name}: {error}") from error
        return self

    def _header(self) -> dict[str, Any]:
        return {
            "policy": self.name,
            "bases": [base.name for base in self._bases],
            "stack": self._stack is not None,
        }


def _mixed(weights: Sequence[float], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """sum over i of weights[i] * rows[i], from the first to the last, [K]."""
    mixed: NDArray[np.float64] = weights[0] * rows[0]
    for weight, row in zip(weights[1:], rows[1:], strict=True):
        mixed = mixed + weight * row
    return mixed


def _seed(seed: int, i: int) -> int:
    """64 bits for base i, independent of those of the others."""
    digest = blake2b(
        i.to_bytes(8, "little"), digest_size=8, key=seed.to_bytes(8, "little"), person=b"rankd.auto"
    )
    return int.from_bytes(digest.digest(), "little")
