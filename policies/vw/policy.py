"""Vowpal Wabbit: any `--cb_explore_adf` or `--ccb_explore_adf` command line (vowpalwabbit.org). Bietti, Agarwal & Langford (2021), "A Contextual
Bandit Bake-off", compare its explorers; the default is SquareCB (Foster & Rakhlin 2020, "Beyond UCB").

VW is given text with integers for names, so that no name can inject anything: see `examples`. A namespace is the letter in
`Features.namespace`: the first letter of its own name, else `c` for the context's features and `a` for the actions'. `|i` holds
the action's id, `|0` the slot's. The label has the cost, which is the negative reward, and the probability.

Conditional contextual bandits (`--ccb_explore_adf`) fill one slot at a time: VW sees one slot and the actions that are left for it. So
slots are drawn by rankd, with probabilities that anybody can recompute, and what a slot earns is learned for that slot.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from policies.features import SLOT, action_index
from policies.pack import pack, unpack
from policies.policy import About, Policy, PolicyError, PolicySettings
from policies.sums import total
from policies.types import Scored
from policies.vw.examples import Example, Label
from policies.vw.options import command_line
from policies.vw.workspace import Workspace, is_pure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies.types import ActionSet, Features, Interaction

# VW reads integers modulo 2^64 and keeps as many low bits as --bit_precision says, 18 by default and at most 30 on
# usual machines. 32 bits of a hash are as good to it as 64, and shorter to write.
_FOLD = 2**32 - 1
# VW computes in float32, whose greatest number is 3.4e38: products of two features or costs must stay below it.
_GREATEST = 1e9
# VW takes what is smaller for 0, as no normal float32 is so small. But of the text of 1e-150 its parser makes infinity, and
# 1e38 of 1e-218, so it is told 0.
_SMALLEST = 1e-38
# A smaller probability's inverse would come near the greatest float32; with 0 VW stops learning for ever. Even 1e-12
# is not drawn in a million million decisions.
_LEAST = 1e-30
# A probability may exceed 1 by rounding.
_MOST = 1.0 + 1e-9
# Formats that are kept, and how many features of one: 64 x 16,384 x 20 bytes = 21 MB at worst.
_SEEN, _SEEN_WORDS = 64, 16_384
# Action ids whose words are kept: 16,384 x (256 characters + 150 bytes) = 7 MB at worst (ASCII).
_ACTIONS = 16_384
# Options whose explorers do not follow one estimated cost for each action.
_MIXED = frozenset(
    {"automl", "bag", "cover", "epsilon_decay", "graph_feedback", "large_action_space"}
    | {"regcb", "regcbopt", "rnd", "synthcover"}
)


class VWSettings(PolicySettings):
    """Settings of VW."""

    args: str = Field(
        default="--cb_explore_adf --squarecb -q :i -q :a -l 2",
        description="What one would type after `vw`, with --cb_explore_adf or, for slots, --ccb_explore_adf. -q :i and -q :a cross every namespace with the action's id and "
        "with its features; without that no context can change which action is best. Action features in a "
        "namespace of their own, say `price`, need another -q :p. SquareCB's --gamma_scale, 10 by default, suits "
        "rewards of about 1; divide it by theirs where they are greater.",
    )
    action_id: bool = Field(
        default=True,
        description="Whether an action's id is a feature of it, in namespace i. Without it only their features "
        "tell actions apart, and what is learned of one holds for all that have the same.",
    )


class VW(Policy):
    """A Vowpal Wabbit model with action dependent features.

    A few options change the model whenever it predicts; `workspace.is_pure` finds out. Then each pmf loads a copy from
    the state, which is right but takes milliseconds. VW has no seed per prediction, so `seed` changes nothing.

    The same log gives the same bits in every process on one machine. Another CPU may round differently: VW uses the
    CPU's approximate square root.

    State: VW's own model file: about 8 to 16 bytes for each weight that is not 0.

    scores: the negative estimated cost, for explorers that follow one estimate; otherwise the pmf.
    """

    name = "vw"
    about = About(
        paper=(
            'Bietti, Agarwal & Langford 2021, "A Contextual Bandit Bake-off"; Foster & '
            'Rakhlin 2020, "Beyond UCB"'
        ),
        when=(
            "Many actions with features of their own, very many features, or slots that "
            "differ (`--ccb_explore_adf`); and for who has tuned options already."
        ),
        exploration=(
            "By its explorer: with --squarecb `--gamma_scale`, where more explores less; "
            "with --epsilon a fixed share; with --bag, --cover or --regcb as much as models "
            "disagree."
        ),
    )
    Settings = VWSettings
    structural = frozenset({"args", "action_id"})
    libraries = ("vowpalwabbit",)

    def __init__(
        self,
        settings: PolicySettings,
        reward_range: tuple[float, float],
        model: bytes | None = None,
    ) -> None:
        assert isinstance(settings, VWSettings)
        self._settings = settings
        self._line = command_line(settings.args, reward_range)
        self.slotwise = self._line.ccb
        self.scores_jointly = bool(self._line.names & _MIXED)  # they are the pmf
        self._pure = is_pure(self._line)
        self._formats = _Formats()
        self._workspace = Workspace(self._line, model)
        self._model = model  # what the workspace would save, unless it has learned since

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        """See `Policy.pmf`.

        Raises:
            PolicyError: VW's probabilities are not K numbers that sum to 1 within 1%, or a value is not finite.
        """
        example = self._example(context, actions)
        if self._pure:
            raw, costs = self._workspace.predict(example)
        else:
            with Workspace(self._line, self._saved()) as copy:
                raw, costs = copy.predict(example)
        pmf = self._normalised(np.array(raw), len(actions))
        scores = pmf if self.scores_jointly else -np.array(costs)
        if not np.isfinite(scores).all():
            raise PolicyError(
                f"args: Vowpal Wabbit estimates costs {costs}; learn more slowly (-l)"
            )
        return Scored(pmf, scores)

    def learn(self, interactions: Sequence[Interaction]) -> None:
        """See `Policy.learn`.

        Raises:
            PolicyError: a reward, probability or value would spoil the model for ever. Nothing is learned then.
        """
        examples = [self._labelled(interaction) for interaction in interactions]
        for example in examples:
            self._model = None
            self._workspace.learn(example)

    def state(self) -> bytes:
        return pack(self._header(self._settings), {"model": np.frombuffer(self._saved(), np.uint8)})

    @classmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        header, arrays = unpack(state)  # refuses damage: VW would load half a model without a word
        expected = cls._header(settings)
        if header != expected or set(arrays) != {"model"}:
            raise PolicyError(f"a state of {header}, expected {expected}")
        return cls(settings, reward_range, arrays["model"].tobytes())

    def _saved(self) -> bytes:
        if self._model is None:
            self._model = self._workspace.save()
        return self._model

    @classmethod
    def _header(cls, settings: PolicySettings) -> dict[str, object]:
        return {"policy": cls.name, **settings.model_dump(include=set(cls.structural))}

    def _normalised(self, raw: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """VW's float32 probabilities, scaled to a sum of 1."""
        mass = total(raw) if len(raw) == count else float("nan")
        # VW 9.11 gives each of several tied best actions the probability 1 under --regcbopt.
        ties = "regcbopt" in self._line.names and ((raw == 0.0) | (raw == 1.0)).all()
        if not (0.99 <= mass <= (count if ties else 1.01) and raw.min() >= 0.0):
            raise PolicyError(f"args: Vowpal Wabbit answers {raw}, no pmf of {count} actions")
        return raw / mass

    def _labelled(self, interaction: Interaction) -> Example:
        reward, propensity = interaction.reward, interaction.propensity
        if not abs(reward) <= _GREATEST:  # NaN compares false
            raise PolicyError(f"reward: is {reward}; must be finite and at most {_GREATEST:g}")
        if not _LEAST <= propensity <= _MOST:
            raise PolicyError(
                f"pmf[{interaction.chosen}]: the chosen action's probability is {propensity}; "
                f"must be in [{_LEAST:g}, 1]"
            )
        if abs(reward) < _SMALLEST:
            reward *= 0.0
        label = Label(interaction.chosen, -reward, min(propensity, 1.0))
        return self._example(interaction.context, interaction.actions, label)

    def _example(
        self, context: Features, actions: ActionSet, label: Label | None = None
    ) -> Example:
        if not len(actions):
            raise PolicyError("actions: there are none")  # without this line VW would crash
        slots = int(np.count_nonzero(context.namespace == SLOT))  # they come first
        slot = ""
        if slots:
            slot, context = self._row(context[:slots]), context[slots:]
        return Example(
            self._row(context) or "|c", self._lines(actions), slot or f"|{chr(SLOT)}", label
        )

    def _row(self, features: Features) -> str:
        return self._rows(features, [0, len(features)])[0]

    def _lines(self, actions: ActionSet) -> list[str]:
        ids = actions.ids
        own = list(map(_action_word, ids)) if self._settings.action_id else [""] * len(ids)
        if len(actions.features):
            rows = self._rows(actions.features, actions.start.tolist())
            own = [f"{a} {b}" if a and b else a or b for a, b in zip(own, rows, strict=True)]
        return [line or "|a" for line in own]

    def _rows(self, features: Features, start: list[int]) -> list[str]:
        """`index:value` of the features of each row, led by `|namespace` where a namespace or the row begins."""
        if not len(features):
            return [""] * (len(start) - 1)
        size = np.abs(features.value)
        if not np.maximum.reduce(size) <= _GREATEST:  # NaN is the greatest, and compares false
            raise PolicyError(f"features: a value is not finite or greater than {_GREATEST:g}")
        values = (features.value * (size >= _SMALLEST)).tolist()
        formats = self._formats.of(features, start)
        if len(formats) == 1:
            return [formats[0] % tuple(values)]
        rows = zip(formats, pairwise(start), strict=True)
        return [row % tuple(values[a:b]) for row, (a, b) in rows]


@lru_cache(maxsize=_ACTIONS)
def _action_word(action_id: str) -> str:
    return f"|i {action_index(action_id) & _FOLD}"


class _Formats:
    """Rows of features but for their values: made once for all that have the same arrays, as those of one layout have."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Features, list[int], list[str]]] = {}

    def of(self, features: Features, start: list[int]) -> list[str]:
        """A format for the values of each row."""
        index, letters = features.index, features.namespace
        seen = self._seen.get(id(index))
        if seen is not None:
            before, rows, formats = seen
            if before.index is index and before.namespace is letters and rows == start:
                return formats
        words = [f"{i}:%.9g" for i in (index & np.uint64(_FOLD)).tolist()]
        changes = np.flatnonzero(letters[1:] != letters[:-1]) + 1
        for k in {*start, *changes.tolist()}:
            if k < len(words):  # rows that are empty begin where the next one does
                words[k] = f"|{chr(letters[k])} {words[k]}"
        formats = [" ".join(words[a:b]) for a, b in pairwise(start)]
        if not index.flags.writeable and len(words) <= _SEEN_WORDS:
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen[id(index)] = features, start, formats
        return formats
