"""Worlds: where contexts come from and what an action earns, with the truth known.

A labelled data set is a bandit in disguise (Beygelzimer & Langford 2009, "The Offset Tree"): the classes are the
actions, naming the right one earns 1, any other 0, and only the reward of the action taken is ever shown.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from policies.features import encode_actions, encode_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from policies import ActionSet, Features


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One event: what is known before the decision, and which action is right."""

    numbers: Mapping[str, float]  # named context features, raw units
    label: str  # one of the world's actions

    def reward(self, action: str) -> float:
        """1 for the right action, else 0."""
        return float(action == self.label)

    def context(self) -> Features:
        """The numbers as policies take them: as a client's would be that sends them without a namespace."""
        return encode_context(
            [_Numbers(numeric_names=list(self.numbers), numeric_values=list(self.numbers.values()))]
        )


@dataclass(frozen=True, slots=True)
class World:
    """Rows in the order in which they come, and the actions that each of them offers."""

    name: str
    actions: tuple[str, ...]  # [K] sorted
    rows: tuple[LabelledRow, ...]  # [n]

    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[LabelledRow]:
        return iter(self.rows)

    def action_set(self) -> ActionSet:
        """The actions as policies take them; they have no features but their names."""
        return encode_actions(self.actions, [])


def image_segments(seed: int) -> World:
    """Which of 7 surfaces does a patch of a photograph show? 2,310 rows of 18 numbers, 330 of each class.

    UCI's Image Segmentation (1990), as bundled with River. The data set is sorted by class, so its rows are
    shuffled; one seed gives one order, on every machine. Any fixed action earns 1/7 on average.

    >>> world = image_segments(seed=1)
    >>> len(world), world.actions[:3]
    (2310, ('brickface', 'cement', 'foliage'))
    """
    from river.datasets import ImageSegments  # half a second, and only worlds need it

    rows = [
        LabelledRow({name: float(value) for name, value in numbers.items()}, label)
        for numbers, label in ImageSegments()  # type: ignore[no-untyped-call]  # River annotates little
    ]
    random.Random(seed).shuffle(rows)  # noqa: S311  # an order to reproduce, nothing to guess
    return World("image-segments", tuple(sorted({row.label for row in rows})), tuple(rows))


@dataclass(slots=True)
class _Numbers:
    """Named numbers and nothing else, in the shape that `encode_context` reads."""

    numeric_names: Sequence[str]
    numeric_values: Sequence[float]
    namespace: str = ""
    categorical_names: Sequence[str] = ()
    categorical_values: Sequence[str] = ()
    vector_names: Sequence[str] = ()
    vector_sizes: Sequence[int] = ()
    vector_data: bytes = b""
