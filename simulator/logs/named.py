"""Features by name, gathered from any source and encoded as a client's would be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from policies.features import encode_actions, encode_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from policies import ActionSet, Features

# Logs of others were not checked against rankd's own limit of 1e6; VW, in float32, is safe up to here.
MAGNITUDE = 1e9


@dataclass(slots=True)
class Space:
    """The features of one thing in one namespace."""

    numbers: dict[str, float] = field(default_factory=dict)
    categories: dict[tuple[str, str], None] = field(default_factory=dict)  # (name, value)
    vectors: dict[str, list[float]] = field(default_factory=dict)


class Named:
    """The features of one thing: namespace -> Space.

    >>> named = Named()
    >>> named.number("", "age", 31.0)
    >>> named.category("user", "tag", "a")
    >>> named.category("user", "tag", "b")
    >>> len(named.encode())
    3
    """

    def __init__(self) -> None:
        self.spaces: dict[str, Space] = {}

    def space(self, namespace: str) -> Space:
        """The namespace's features so far."""
        return self.spaces.setdefault(namespace, Space())

    def number(self, namespace: str, name: str, value: float) -> None:
        """A number; where the name comes twice they add up, as a linear model would have it."""
        numbers = self.space(namespace).numbers
        numbers[name] = numbers.get(name, 0.0) + float(value)

    def category(self, namespace: str, name: str, value: str) -> None:
        """A category; a name may have several values, each of which counts once."""
        self.space(namespace).categories[name, value] = None

    def vector(self, namespace: str, name: str, values: Iterable[float]) -> None:
        """A dense vector; where the name comes twice they are joined end to end."""
        self.space(namespace).vectors.setdefault(name, []).extend(map(float, values))

    def json(
        self,
        values: Mapping[str, object],
        key: Callable[[str], str] = str,
        namespace: str = "",
        private: bool = True,
    ) -> None:
        """Adds a JSON object: strings and booleans are categories, numbers are numbers, lists of numbers are vectors.

        An object within it is a namespace of its own, wherever it stands; null and names that begin with "_" are
        passed over.

        >>> named = Named()
        >>> named.json({"geo": {"city": "Delft", "_ip": "::1"}, "age": 31, "emb": [0.5, 1.0]})
        >>> sorted(named.spaces)
        ['', 'geo']

        Args:
            key: what a name or namespace of the object is called here.
            private: whether "_" in front of a name means that it is no feature.
        """
        for name, value in values.items():
            if not (private and name.startswith("_")):
                self._value(namespace, key(name), value, key)

    def _value(self, namespace: str, name: str, value: object, key: Callable[[str], str]) -> None:
        if isinstance(value, bool):
            self.category(namespace, name, "true" if value else "false")
        elif isinstance(value, (int, float)):
            self.number(namespace, name, value)
        elif isinstance(value, str):
            self.category(namespace, name, value)
        elif isinstance(value, dict):
            self.json(value, key, name)
        elif isinstance(value, list):
            numbers = [v for v in value if isinstance(v, (int, float)) and not isinstance(v, bool)]
            if numbers and len(numbers) == len(value):
                self.vector(namespace, name, numbers)
            else:
                for one in value:
                    self._value(namespace, name, one, key)

    def encode(self) -> Features:
        """As the features of a context.

        Raises:
            ValueError: a name is empty, or a number NaN, infinite or beyond MAGNITUDE.
        """
        return encode_context([_context_group(*item) for item in self.spaces.items()], MAGNITUDE)


def encode_all(ids: Sequence[str], named: Sequence[Named]) -> ActionSet:
    """K actions with their features. In each namespace they may have one vector of the same name and size; other vectors
    are taken as numbers.

    Raises:
        ValueError: as `Named.encode`; or two actions have one id.
    """
    if len(set(ids)) != len(ids):
        twice = next(name for i, name in enumerate(ids) if name in ids[:i])
        raise ValueError(f"two actions are called {twice!r}")
    namespaces = dict.fromkeys(space for one in named for space in one.spaces)
    groups = [
        _action_group(namespace, [one.spaces.get(namespace) or Space() for one in named])
        for namespace in namespaces
    ]
    return encode_actions(ids, groups, MAGNITUDE)


@dataclass(slots=True)
class _Group:
    """In the shape that `encode_context` and `encode_actions` read."""

    namespace: str
    numeric_names: list[str]
    numeric_values: list[float]
    categorical_names: list[str]
    categorical_values: list[str]
    vector_data: bytes = b""
    vector_names: Sequence[str] = ()
    vector_sizes: Sequence[int] = ()
    numeric_counts: Sequence[int] = ()
    categorical_counts: Sequence[int] = ()
    vector_size: int = 0


def _context_group(namespace: str, space: Space) -> _Group:
    return _Group(
        namespace,
        list(space.numbers),
        list(space.numbers.values()),
        [name for name, _ in space.categories],
        [value for _, value in space.categories],
        _floats(value for vector in space.vectors.values() for value in vector),
        list(space.vectors),
        [len(vector) for vector in space.vectors.values()],
    )


def _action_group(namespace: str, spaces: list[Space]) -> _Group:
    size = _common_size(spaces)
    numbers = [space.numbers if size else _spread(space) for space in spaces]
    return _Group(
        namespace,
        [name for each in numbers for name in each],
        [value for each in numbers for value in each.values()],
        [name for space in spaces for name, _ in space.categories],
        [value for space in spaces for _, value in space.categories],
        _floats(v for s in spaces for vector in s.vectors.values() for v in vector)
        if size
        else b"",
        numeric_counts=[len(each) for each in numbers],
        categorical_counts=[len(space.categories) for space in spaces],
        vector_size=size,
    )


def _common_size(spaces: list[Space]) -> int:
    """Elements of the one vector that every action has; 0 if it is not so."""
    layouts = {tuple((name, len(v)) for name, v in space.vectors.items()) for space in spaces}
    layout = layouts.pop() if len(layouts) == 1 else ()
    return layout[0][1] if len(layout) == 1 else 0


def _spread(space: Space) -> dict[str, float]:
    """The numbers, with vectors' elements among them."""
    numbers = dict(space.numbers)
    for name, vector in space.vectors.items():
        numbers |= {f"{name}[{i}]": value for i, value in enumerate(vector)}
    return numbers


def _floats(values: Iterable[float]) -> bytes:
    """As float32. What is too great for it is refused when it is encoded."""
    with np.errstate(over="ignore"):
        return np.fromiter(values, np.float64).astype("<f4").tobytes()
