"""Rounds that are there already: to live several times in one world, or to log one stretch of it and live in the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from simulator.environments.environment import Round


@dataclass(frozen=True)
class Given:
    """An environment of these rounds, whatever generator it is given.

    >>> from itertools import islice
    >>> import numpy as np
    >>> from simulator.environments import environment_of
    >>> world = environment_of("linear")
    >>> stream = world.rounds(np.random.default_rng(1))
    >>> first, second = (Given("linear", world.reward_range, list(islice(stream, 10))) for _ in range(2))
    >>> len(second)
    10
    """

    name: str
    reward_range: tuple[float, float]
    given: Sequence[Round]

    def __len__(self) -> int:
        return len(self.given)

    def rounds(self, generator: np.random.Generator) -> Iterator[Round]:
        return iter(self.given)
