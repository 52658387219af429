"""Features and interactions by index, for tests that compute by hand."""

from __future__ import annotations

import numpy as np

from policies import ActionSet, Features, Interaction

Sparse = dict[int, float]


def features(values: Sparse, letter: str = "c", *, numeric: bool = False) -> Features:
    index = np.array(sorted(values), np.uint64)
    value = np.array([values[i] for i in sorted(values)], np.float64)
    flags = np.full(len(index), numeric)
    return Features(index, value, np.full(len(index), ord(letter), np.uint8), flags)


def action_set(things: dict[str, Sparse]) -> ActionSet:
    parts = [features(values, "a") for values in things.values()]
    start = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.intp)
    everything = Features(
        np.concatenate([part.index for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.namespace for part in parts]),
        np.concatenate([part.numeric for part in parts]),
    )
    return ActionSet(tuple(things), start, everything)


def interaction(
    context: Sparse, things: dict[str, Sparse], chosen: str, reward: float
) -> Interaction:
    actions = action_set(things)
    pmf = np.full(len(actions), 1 / len(actions))
    return Interaction(features(context), actions, actions.ids.index(chosen), pmf, reward)
