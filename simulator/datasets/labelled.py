"""A labelled data set as an environment: the classes are the actions, the right one earns 1, any other 0.

Beygelzimer & Langford (2009), "The Offset Tree for Learning with Partial Labels".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from policies.features import encode_actions
from simulator.environments.environment import EnvironmentSpecError, Round
from simulator.logs.named import Named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from policies import Features


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """n rows, each with one right action."""

    name: str
    contexts: Sequence[Features] = field(repr=False)  # [n]
    labels: NDArray[np.intp] = field(repr=False)  # [n] index into actions
    actions: tuple[str, ...]  # [K] sorted
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @classmethod
    def of(cls, name: str, rows: Iterable[tuple[Mapping[str, float | str], str]]) -> Labelled:
        """From (features by name, label) of each row: numbers are numbers, strings are categories.

        Raises:
            EnvironmentSpecError: there is no row, or a number is not finite; the message begins with the name.
        """
        contexts, given = [], []
        for number, (features, label) in enumerate(rows, 1):
            named = Named()
            named.json(features, private=False)
            try:
                contexts.append(named.encode())
            except ValueError as error:
                raise EnvironmentSpecError(f"{name}, row {number}: {error}") from error
            given.append(label)
        if not given:
            raise EnvironmentSpecError(f"{name}: there are no rows")
        actions = tuple(sorted(set(given)))
        places = {action: k for k, action in enumerate(actions)}
        return cls(name, contexts, np.array([places[each] for each in given], np.intp), actions)

    def __len__(self) -> int:
        return len(self.labels)

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        """Each row once, in an order that the generator draws: many sets are stored by class."""
        offered = encode_actions(self.actions, [])
        for i in generator.permutation(len(self)).tolist():
            right = np.zeros(len(self.actions))
            right[self.labels[i]] = 1.0
            yield Round(self.contexts[i], offered, right, right)
