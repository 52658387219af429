"""A decision's features as JSON values, by namespace and name, as the client sent them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rankd.v1 import log_pb2 as pb

Value = float | str | list[float]
Named = list[tuple[str, Value]]
"""(name, value) of the features of one thing in one namespace. A category with several values comes several times."""
Object = dict[str, Value]

# What the one vector that an action may have in a namespace is called.
VECTOR = "vector"


def context_features(decision: pb.Decision) -> list[tuple[str, Named]]:
    """(namespace, features) of the context, as sent."""
    spaces = []
    for group in decision.context:
        named: Named = [*zip(group.numeric_names, group.numeric_values, strict=True)]
        named.extend(zip(group.categorical_names, group.categorical_values, strict=True))
        data, at = _floats(group.vector_data), 0
        for name, size in zip(group.vector_names, group.vector_sizes, strict=True):
            named.append((name, data[at : at + size]))
            at += size
        spaces.append((group.namespace, named))
    return spaces


def action_features(decision: pb.Decision) -> list[list[tuple[str, Named]]]:
    """For each action, (namespace, features), as sent; a namespace in which it has none is left out."""
    actions: list[list[tuple[str, Named]]] = [[] for _ in decision.action_ids]
    for group in decision.action_features:
        numbers = _rows(group.numeric_counts, group.numeric_names, group.numeric_values)
        words = _rows(group.categorical_counts, group.categorical_names, group.categorical_values)
        data, size = _floats(group.vector_data), group.vector_size
        for k, spaces in enumerate(actions):
            named: Named = [*next(numbers, ()), *next(words, ())]
            if size:
                named.append((VECTOR, data[k * size : (k + 1) * size]))
            if named:
                spaces.append((group.namespace, named))
    return actions


def as_objects(
    spaces: Iterable[tuple[str, Named]], key: Callable[[str], str] = str
) -> dict[str, Object | list[Object]]:
    """Features as JSON: namespace -> {name: value}. Where a name comes twice in a namespace, a list of such objects.

    >>> as_objects([("user", [("age", 31.0), ("tag", "a"), ("tag", "b")])])
    {'user': [{'age': 31.0, 'tag': 'a'}, {'tag': 'b'}]}

    Args:
        key: what to call a namespace or a name.
    """
    result: dict[str, Object | list[Object]] = {}
    for namespace, named in spaces:
        objects: list[Object] = [{}]
        for name, value in named:
            called = key(name)
            free = next((one for one in objects if called not in one), None)
            if free is None:
                free = {}
                objects.append(free)
            free[called] = value
        result[key(namespace)] = objects[0] if len(objects) == 1 else objects
    return result


def _rows(
    counts: Sequence[int], names: Sequence[str], values: Sequence[float] | Sequence[str]
) -> Iterator[Iterable[tuple[str, float | str]]]:
    """Action after action, its share of the flat arrays."""
    at = 0
    for count in counts:
        yield zip(names[at : at + count], values[at : at + count], strict=True)
        at += count


def _floats(data: bytes) -> list[float]:
    floats: list[float] = np.frombuffer(data, "<f4").tolist()
    return floats
