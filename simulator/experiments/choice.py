"""Which of several candidates came out best, and how much of that is luck.

The best of many estimates is too high, also if every single one is right: chance had many tries (the winner's curse). By how much is
told by drawing the comparison again: theta* = theta + sum over blocks b of g_b d_b, g_b ~ N(0, 1), d_b a block's share in the
deviation from theta, the same g_b for all candidates, so that what they have in common cancels (the Gaussian multiplier bootstrap;
Chernozhukov, Chetverikov & Kato 2013, "Gaussian approximations and multiplier bootstrap for maxima of sums of high-dimensional random
vectors"). In every draw the best is looked for anew; what it is then above its own theta is what choosing adds (Tsamardinos,
Greasidou & Borboudakis 2018, "Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation").

It tells rather too little: candidates that are worth the same already stand apart by chance, and are drawn around where they stand. Among
five equal ones it told two thirds of what choosing added (tests/simulator/test_experiments_tune.py). Only other rows tell all.

Deviations need not be independent: along a path of learning they are differences of a martingale, and blocks keep what
neighbours have in common together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_DRAWS = 2_000


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen among M candidates."""

    order: tuple[int, ...]
    """Those that could be compared, the best first; of equal ones the earlier."""
    chances: tuple[float, ...]
    """[M] how often each is best when the comparison is drawn again, ties shared; 0 for one that could not be compared."""
    optimism: float
    """By how much the best's value is too high for having been chosen, in reward units."""

    @property
    def winner(self) -> int:
        """The best."""
        return self.order[0]


def choose(
    values: Sequence[float | None],
    blocks: Sequence[Sequence[float] | None],
    generator: np.random.Generator,
) -> Choice:
    """The candidate with the highest value.

    Args:
        values: [M] estimates from the same rows; None for one that has none.
        blocks: [M] of B numbers each, d_b above.
        generator: of the draws.

    >>> choice = choose([0.1, 0.9, None], [[0.001, -0.001], [0.001, -0.001], None], np.random.default_rng(1))
    >>> choice.winner, choice.order, choice.chances[1], abs(choice.optimism) < 0.001
    (1, (1, 0), 1.0, True)

    Raises:
        ValueError: no candidate has a value.
    """
    compared = [i for i, value in enumerate(values) if value is not None]
    if not compared:
        raise ValueError("no candidate has a value")
    theta = np.array([values[i] for i in compared], np.float64)
    order = np.argsort(-theta, kind="stable")
    deviations = np.array([blocks[i] for i in compared], np.float64)  # [M, B]
    # einsum and no matrix product: BLAS sums in another order with other cores.
    g = generator.standard_normal((_DRAWS, deviations.shape[1]))
    drawn = theta + np.einsum("rb,mb->rm", g, deviations)
    best = np.argmax(drawn, axis=1)
    highest = drawn[np.arange(_DRAWS), best]
    optimism = float((highest - theta[best]).mean())
    first = drawn == highest[:, None]  # settings that make no difference are first together
    chances = np.zeros(len(values))
    chances[compared] = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return Choice(tuple(compared[i] for i in order), tuple(chances.tolist()), optimism)
