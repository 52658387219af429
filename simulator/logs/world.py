"""What a fixed policy logs in an environment: a log whose truth is known."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from simulator.logs.events import Decided, Matured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.environments.given import Given
    from simulator.logs.events import Event


class WorldLog:
    """One slot a round; a reward is final once as many decisions were made as its round says.

    Args:
        world: the rounds.
        skew: share of the decisions, in [0, 1), that go to the round's first action whatever the context; the rest is uniform.
        seed: >= 0, of the draws.

    >>> from itertools import islice
    >>> from simulator.environments import environment_of
    >>> from simulator.environments.given import Given
    >>> rounds = list(islice(environment_of("logistic:actions=4").rounds(np.random.default_rng(1)), 2))
    >>> log = WorldLog(Given("logistic", (0.0, 1.0), rounds), skew=0.2)
    >>> [type(event).__name__ for event in log], next(iter(log)).pmf.tolist()
    (['Decided', 'Matured', 'Decided', 'Matured'], [0.4, 0.2, 0.2, 0.2])
    """

    def __init__(self, world: Given, skew: float = 0.0, seed: int = 0) -> None:
        self.name = world.name
        self.reward_range: tuple[float, float] | None = world.reward_range
        self.counters: Counter[str] = Counter()
        self._world = world
        self._skew = skew
        self._seed = seed

    def __iter__(self) -> Iterator[Event]:
        draw = np.random.default_rng(self._seed)
        waiting: list[tuple[int, Matured]] = []
        for i, each in enumerate(self._world.given):
            count = len(each.actions)
            mu = np.full(count, (1 - self._skew) / count)
            mu[0] += self._skew
            k = int(draw.choice(count, p=mu))
            row = Decided(str(i), 0, each.context, each.actions, k, mu, float(mu[k]))
            yield row
            waiting.append((i + each.delay, Matured(row, each.earned([k]))))
            for due, matured in waiting:
                if due <= i:
                    yield matured
            waiting = [one for one in waiting if one[0] > i]
        for _, matured in waiting:
            yield matured
