"""Simulated problems, written to a file that every player reads, so that all see the same contexts, rewards and draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ROUNDS, ACTIONS, SIZE = 10_000, 20, 32
NOISE = 0.5  # standard deviation of a reward around what is expected
# What a policy that plays at random loses over all rounds; weights are scaled to make it so, for every seed.
RANDOM_REGRET = 16_960.0


def reference_job(path: Path, seed: int, redraw: int = 0, rounds: int = ROUNDS) -> None:
    """The reference job: 32 independent normal numbers, 20 actions, each with linear rewards of its own.

    x ~ N(0, I), reward of action a = theta_a' x + N(0, 0.5^2).

    Args:
        redraw: weights are drawn anew after so many rounds; 0: never.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rounds, SIZE))
    every = redraw or rounds
    theta = rng.normal(size=(-(-rounds // every), ACTIONS, SIZE))
    expected = np.concatenate(
        [x[i * every : (i + 1) * every] @ weights.T for i, weights in enumerate(theta)]
    )
    random_regret = (expected.max(axis=1) - expected.mean(axis=1)).sum()
    expected *= RANDOM_REGRET / ROUNDS * rounds / random_regret
    rewards = expected + NOISE * rng.normal(size=(rounds, 1))
    write(path, rng, x=x, rewards=rewards, expected=expected)


def write(path: Path, rng: np.random.Generator, **arrays: NDArray[np.float64]) -> None:
    """Writes a job, with a uniform number and 64 random bits for each round."""
    rounds = len(arrays["rewards"])
    seeds = rng.integers(0, 2**64, rounds, np.uint64)
    np.savez(path, allow_pickle=False, u=rng.random(rounds), seeds=seeds, **arrays)
