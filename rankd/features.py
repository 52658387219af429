"""From plain dicts to the flat feature messages of the contract (rankd/v1/features.proto).

number (int, float, numpy scalar)       a number
True, False                             the category "true" or "false"
str                                     a category
several str (list, tuple, set)          a category each, under one name
numbers (list, tuple, array)            a dense vector, sent as float32
dict                                    a namespace of that name
None, or nothing in it                  left out: the feature is not known
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from sys import float_info
from typing import Any

import numpy as np

from rankd.errors import InvalidArgument
from rankd.v1 import features_pb2 as pb

MAX = float_info.max

MAX = float_info.max


def context_features(context: Mapping[str, object]) -> list[pb.Features]:
    """The context's features, a message for each namespace that has any.

    Raises:
        InvalidArgument: an empty name, a number that is not finite.
        TypeError: a name that is not a str, or a value that is no feature.

    >>> [default, user] = context_features({"age": 31, "vip": True, "user": {"tags": ["a", "b"]}})
    >>> default.numeric_names, default.numeric_values, default.categorical_values
    (['age'], [31.0], ['true'])
    >>> user.namespace, user.categorical_names, user.categorical_values
    ('user', ['tags', 'tags'], ['a', 'b'])
    """
    spaces: dict[str, _Space] = {}
    _read(context, "context", spaces, 1)
    return [space.features() for space in spaces.values() if space.has_any()]


def action_features(
    actions: Mapping[str, Mapping[str, object] | None],
) -> list[pb.ActionFeatures]:
    """The features of all actions, a message for each namespace that has any.

    In one namespace either every action has a dense vector, all of one name and size, or none has: the contract
    knows one vector for each action and namespace, so its name is not sent.

    Raises:
        InvalidArgument: as for `context_features`; or vectors that do not go together.
        TypeError: as for `context_features`.

    >>> [message] = action_features({"a": {"price": 9.5}, "b": {}, "c": {"price": 3, "new": True}})
    >>> message.numeric_counts, message.numeric_values, message.categorical_counts
    ([1, 0, 1], [9.5, 3.0], [0, 0, 1])
    """
    spaces: dict[str, _Space] = {}
    for row, (action, features) in enumerate(actions.items()):
        if features is not None:
            _read(features, f"actions[{action!r}]", spaces, len(actions))
            for space in spaces.values():
                space.end(row)
    ids = list(actions)
    return [space.action_features(ids) for space in spaces.values() if space.has_any()]


def _read(features: Mapping[str, object], where: str, spaces: dict[str, _Space], rows: int) -> None:
    """Takes one thing's features in: its own into the default namespace, those of a nested dict into that one."""
    if not isinstance(features, Mapping):
        raise TypeError(f"{where}: is a {type(features).__name__}; features are a dict")
    nested = _space("", spaces, rows).read(features, where)
    for name, inner in nested:
        path = f"{where}[{name!r}]"
        for deeper, _ in _space(name, spaces, rows).read(inner, path):
            raise InvalidArgument(f"{path}[{deeper!r}]: a namespace cannot hold another one")


def _space(name: str, spaces: dict[str, _Space], rows: int) -> _Space:
    space = spaces.get(name)
    if space is None:
        space = spaces[name] = _Space(name, rows)
    return space


class _Space:
    """The features of `rows` things in one namespace, as columns."""

    def __init__(self, name: str, rows: int) -> None:
        self.name = name
        self.numeric_names: list[str] = []
        self.numeric_values: list[float] = []
        self.numeric_counts = [0] * rows
        self.categorical_names: list[str] = []
        self.categorical_values: list[str] = []
        self.categorical_counts = [0] * rows
        self.vectors: list[tuple[str, np.ndarray[Any, np.dtype[np.float32]]]] = []
        self.vector_counts = [0] * rows
        self._ended = (0, 0, 0)

    def read(
        self, features: Mapping[str, object], where: str
    ) -> list[tuple[str, Mapping[str, object]]]:
        """Takes features in; gives back those whose value is a dict."""
        nested = []
        first = len(self.numeric_values)
        # Most values are of these four exact types: asking for them first is twice as fast as isinstance() for all.
        for name, value in features.items():
            if type(name) is not str or not name:
                _check_name(name, where)
            kind = type(value)
            if kind is float or kind is int:
                self.numeric_names.append(name)
                self.numeric_values.append(value)  # type: ignore[arg-type]  # as kind says
            elif kind is str:
                self.categorical_names.append(name)
                self.categorical_values.append(value)  # type: ignore[arg-type]  # as kind says
            elif kind is bool:
                self._categories(name, ["true" if value else "false"])
            elif isinstance(value, Mapping):
                nested.append((name, value))
            elif value is not None:
                self._add(name, value, f"{where}[{name!r}]")
        self._check_finite(first, where)
        return nested

    def _add(self, name: str, value: Any, where: str) -> None:
        """A value of any less common type."""
        if isinstance(value, np.bool_):
            self._categories(name, ["true" if value else "false"])
        elif isinstance(value, (int, float, np.integer, np.floating)):
            self.numeric_names.append(name)
            self.numeric_values.append(float(value))
        elif isinstance(value, str):
            self._categories(name, [value])
        elif isinstance(value, (set, frozenset)) and all(isinstance(item, str) for item in value):
            # Sorted: in a set's own order a retry from another process would be another request.
            self._categories(name, sorted(value))
        elif isinstance(value, (list, tuple, array)) or hasattr(value, "__array__"):
            self._several(name, value, where)
        else:
            raise TypeError(
                f"{where}: a {type(value).__name__} is no feature; "
                "use a number, bool, str, several str, vector of numbers or dict"
            )

    def _several(self, name: str, value: Any, where: str) -> None:
        """Strings: a category each. Numbers: a dense vector."""
        if not isinstance(value, (list, tuple)):
            value = np.asarray(value)
            if value.dtype.kind in "OU" and value.ndim == 1:
                value = value.tolist()
        if isinstance(value, (list, tuple)):
            strings = sum(isinstance(item, str) for item in value)
            if strings == len(value):
                self._categories(name, value)
                return
            if strings:
                raise TypeError(f"{where}: mixes str with other types; give either str or numbers")
        try:
            with np.errstate(over="ignore"):
                vector = np.asarray(value).astype("<f4", casting="same_kind")
        except (TypeError, ValueError) as error:
            raise TypeError(f"{where}: is neither several str nor a vector of numbers") from error
        if vector.ndim != 1:
            raise InvalidArgument(f"{where}: has {vector.ndim} dimensions; a vector has 1")
        if not np.isfinite(vector).all():
            raise InvalidArgument(f"{where}: holds a number that is not finite as float32")
        if vector.size:
            self.vectors.append((name, vector))

    def _categories(self, name: str, values: Sequence[str]) -> None:
        self.categorical_names += [name] * len(values)
        self.categorical_values += values

    def _check_finite(self, first: int, where: str) -> None:
        """Refuses NaN and infinity: the service would too, but could not name them in the caller's terms."""
        for i in range(first, len(self.numeric_values)):
            # Also false for NaN, and exact for an int too long to be a float.
            if not -MAX <= self.numeric_values[i] <= MAX:
                raise InvalidArgument(
                    f"{where}[{self.numeric_names[i]!r}]: must be a finite number"
                )

    def end(self, row: int) -> None:
        """Ends a row: what came since the row before is this one's."""
        numbers, categories, vectors = self._ended
        self._ended = len(self.numeric_names), len(self.categorical_names), len(self.vectors)
        self.numeric_counts[row] = self._ended[0] - numbers
        self.categorical_counts[row] = self._ended[1] - categories
        self.vector_counts[row] = self._ended[2] - vectors

    def has_any(self) -> bool:
        return bool(self.numeric_names or self.categorical_names or self.vectors)

    def features(self) -> pb.Features:
        return pb.Features(
            namespace=self.name,
            numeric_names=self.numeric_names,
            numeric_values=self.numeric_values,
            categorical_names=self.categorical_names,
            categorical_values=self.categorical_values,
            vector_names=[name for name, _ in self.vectors],
            vector_sizes=[vector.size for _, vector in self.vectors],
            vector_data=b"".join(vector.tobytes() for _, vector in self.vectors),
        )

    def action_features(self, ids: Sequence[str]) -> pb.ActionFeatures:
        self._check_vectors(ids)
        return pb.ActionFeatures(
            namespace=self.name,
            numeric_counts=self.numeric_counts if self.numeric_names else (),
            numeric_names=self.numeric_names,
            numeric_values=self.numeric_values,
            categorical_counts=self.categorical_counts if self.categorical_names else (),
            categorical_names=self.categorical_names,
            categorical_values=self.categorical_values,
            vector_size=self.vectors[0][1].size if self.vectors else 0,
            vector_data=b"".join(vector.tobytes() for _, vector in self.vectors),
        )

    def _check_vectors(self, ids: Sequence[str]) -> None:
        if not self.vectors:
            return
        within = f" in namespace {self.name!r}" if self.name else ""
        for action, count in zip(ids, self.vector_counts, strict=True):
            if count != 1:
                raise InvalidArgument(
                    f"actions[{action!r}]: has {count} vectors{within}; in one namespace "
                    "every action has one vector, or none has (use a namespace for each vector)"
                )
        name, vector = self.vectors[0]
        for action, (other, row) in zip(ids, self.vectors, strict=True):
            if (other, row.size) != (name, vector.size):
                raise InvalidArgument(
                    f"actions[{action!r}]: has the vector {other!r} of {row.size} numbers{within} where "
                    f"actions[{ids[0]!r}] has {name!r} of {vector.size}; they must agree"
                )


def _check_name(name: object, where: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{where}[{name!r}]: the name is a {type(name).__name__}; names are str")
    if not name:
        raise InvalidArgument(f"{where}['']: the name is empty")
