"""Features of rows that are alike but for their numbers, as those of a table are: names are hashed once for each shape."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from simulator.logs.named import MAGNITUDE, Named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies import Features

# Shapes that are kept: 1 kB each or so.
_SHAPES = 1_024


def encode(
    names: tuple[str, ...], numbers: Sequence[float], categories: tuple[tuple[str, str], ...]
) -> Features:
    """What `Named` makes of these numbers and categories (name, value) in namespace "".

    >>> encode(("age",), [31.0], (("country", "NL"),)).value.tolist()
    [31.0, 1.0]

    Raises:
        ValueError: as `Named.encode`.
    """
    if not all(-MAGNITUDE <= number <= MAGNITUDE for number in numbers):  # NaN compares false
        return _named(names, numbers, categories).encode()  # which says what is wrong
    features, places = _shape(names, categories)
    value = features.value.copy()
    value[places] = numbers
    return features.with_value(value)


@lru_cache(_SHAPES)
def _shape(
    names: tuple[str, ...], categories: tuple[tuple[str, str], ...]
) -> tuple[Features, NDArray[np.intp]]:
    """Features with any values, and where among them each number belongs."""
    features = _named(names, range(len(names)), categories).encode()
    where = np.flatnonzero(features.numeric)
    return features, where[np.argsort(features.value[where])]


def _named(
    names: Sequence[str], numbers: Sequence[float], categories: Sequence[tuple[str, str]]
) -> Named:
    named = Named()
    for name, number in zip(names, numbers, strict=True):
        named.number("", name, number)
    for name, value in categories:
        named.category("", name, value)
    return named
