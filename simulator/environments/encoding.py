"""Plain vectors as the features that policies take, as a client's would be that sends dense vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.features import encode_actions, encode_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies import ActionSet, Features


@dataclass(slots=True)
class _Vectors:
    """One vector for the context, or one for each action, in the shape that the encoders read."""

    vector_data: bytes
    vector_sizes: Sequence[int]
    vector_size: int
    namespace: str = ""
    vector_names: Sequence[str] = ("x",)
    numeric_names: Sequence[str] = ()
    numeric_values: Sequence[float] = ()
    numeric_counts: Sequence[int] = ()
    categorical_names: Sequence[str] = ()
    categorical_values: Sequence[str] = ()
    categorical_counts: Sequence[int] = ()


def normal(generator: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    """Standard normal numbers, rounded to float32 as vectors are when they are sent, so that means are those of what is seen."""
    return generator.standard_normal(shape).astype(np.float32).astype(np.float64)


def context_of(x: NDArray[np.float64]) -> Features:
    """A context of d numbers [d]."""
    return encode_context([_Vectors(x.astype("<f4").tobytes(), [len(x)], len(x))])


def actions_of(ids: Sequence[str], z: NDArray[np.float64]) -> ActionSet:
    """K actions with d numbers each, [K, d]."""
    return encode_actions(ids, [_Vectors(z.astype("<f4").tobytes(), [z.shape[1]], z.shape[1])])


def named(count: int) -> ActionSet:
    """Actions that have names and no features.

    >>> named(2).ids
    ('a00', 'a01')
    """
    return encode_actions([f"a{k:02d}" for k in range(count)], [])
