"""From named features to sparse vectors: names are hashed, never parsed, so they can inject nothing."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

import numpy as np

from policies.hashing import action_index, feature_index, namespace_letter
from policies.layout import FeatureError, Part, layout_of
from policies.types import ActionSet, Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# The namespace of what names a slot. No namespace of a request has it, as theirs are letters.
SLOT = ord("0")
# The one vector that an action may have in a namespace.
_UNNAMED = ("",)

__all__ = [
    "NO_FEATURES",
    "SLOT",
    "FeatureError",
    "NamedActionFeatures",
    "NamedFeatures",
    "action_index",
    "encode_actions",
    "encode_context",
    "feature_index",
    "namespace_letter",
    "with_slot",
]


class NamedFeatures(Protocol):
    """The features of one thing in one namespace. rankd.v1.Features is one."""

    @property
    def namespace(self) -> str: ...
    @property
    def numeric_names(self) -> Sequence[str]: ...
    @property
    def numeric_values(self) -> Sequence[float]: ...
    @property
    def categorical_names(self) -> Sequence[str]: ...
    @property
    def categorical_values(self) -> Sequence[str]: ...
    @property
    def vector_names(self) -> Sequence[str]: ...
    @property
    def vector_sizes(self) -> Sequence[int]: ...
    @property
    def vector_data(self) -> bytes: ...


class NamedActionFeatures(Protocol):
    """The features of K things in one namespace. rankd.v1.ActionFeatures is one."""

    @property
    def namespace(self) -> str: ...
    @property
    def numeric_counts(self) -> Sequence[int]: ...
    @property
    def numeric_names(self) -> Sequence[str]: ...
    @property
    def numeric_values(self) -> Sequence[float]: ...
    @property
    def categorical_counts(self) -> Sequence[int]: ...
    @property
    def categorical_names(self) -> Sequence[str]: ...
    @property
    def categorical_values(self) -> Sequence[str]: ...
    @property
    def vector_size(self) -> int: ...
    @property
    def vector_data(self) -> bytes: ...


def encode_context(groups: Sequence[NamedFeatures], magnitude: float = 1e6) -> Features:
    """The context's features in canonical order.

    Args:
        groups: at most one for each namespace.
        magnitude: the greatest absolute value that a number may have.

    Raises:
        FeatureError: lengths that do not match, a name that is empty or comes twice, a number that is NaN,
            infinite or too great. The field's path begins with "context". One category may have several
            values (tags), each once.
    """
    builder = _Builder(1, "c", magnitude)
    for g, group in enumerate(groups):
        builder.open(f"context[{g}]", group.namespace)
        names, sizes = group.vector_names, group.vector_sizes
        numeric, categorical = group.numeric_names, group.categorical_names
        builder.numbers([len(numeric)], numeric, group.numeric_values)
        builder.categories([len(categorical)], categorical, group.categorical_values)
        if len(names) != len(sizes):
            raise FeatureError(
                f"{builder.where}.vector_sizes", f"has {len(sizes)} entries for {len(names)} names"
            )
        builder.named("vector", names)
        builder.vectors(names, sizes, group.vector_data)
    return builder.finish()[1]


def encode_actions(
    ids: Sequence[str],
    groups: Sequence[NamedActionFeatures],
    magnitude: float = 1e6,
    order: NDArray[np.intp] | None = None,
) -> ActionSet:
    """The actions' features in canonical order.

    Args:
        ids: [K].
        order: which of the K actions are wanted, and in which order; None for all of them, in the order given. What is encoded is
            then what it is in a request of that order, so that requests which differ in nothing else share their layouts.

    Raises:
        FeatureError: as for `encode_context`; the field's path begins with "action_features".
    """
    try:
        return _encoded(ids, groups, magnitude, order)
    except FeatureError:
        if order is not None:
            _encoded(ids, groups, magnitude, None)  # names the field by its place in the request
        raise


def _encoded(
    ids: Sequence[str],
    groups: Sequence[NamedActionFeatures],
    magnitude: float,
    order: NDArray[np.intp] | None,
) -> ActionSet:
    wanted = tuple(ids) if order is None else tuple([ids[k] for k in order.tolist()])
    builder = _Builder(len(ids), "a", magnitude, order)
    for g, group in enumerate(groups):
        builder.open(f"action_features[{g}]", group.namespace)
        builder.numbers(
            builder.counts("numeric_counts", group.numeric_counts),
            group.numeric_names,
            group.numeric_values,
        )
        builder.categories(
            builder.counts("categorical_counts", group.categorical_counts),
            group.categorical_names,
            group.categorical_values,
        )
        size, data = group.vector_size, group.vector_data
        if size or data:
            builder.vectors(_UNNAMED, [size], data)
    start, features = builder.finish()
    return ActionSet(wanted, start, features)


def with_slot(context: Features, name: str) -> Features:
    """The context with one feature more, in front, which says which slot is to be filled."""
    return Features(
        np.concatenate((np.array([feature_index("slot", name)], np.uint64), context.index)),
        np.concatenate((np.ones(1), context.value)),
        np.concatenate((np.array([SLOT], np.uint8), context.namespace)),
        np.concatenate((np.zeros(1, np.bool_), context.numeric)),
    )


class _Builder:
    """Checks the features of `rows` things and gathers their values, in the order of the request or in another."""

    def __init__(
        self, rows: int, role: str, magnitude: float, order: NDArray[np.intp] | None = None
    ) -> None:
        self.rows = rows
        self.order = order
        self.role = role
        self.magnitude = magnitude
        self.where = ""
        self.namespace = ""
        self.seen: set[str] = set()
        self.parts: list[Part] = []
        self.values: list[NDArray[np.float64]] = []

    def open(self, where: str, namespace: str) -> None:
        self.where = where
        if namespace in self.seen:
            raise FeatureError(f"{where}.namespace", f"{namespace!r} comes twice")
        self.seen.add(namespace)
        self.namespace = namespace

    def counts(self, field: str, counts: Sequence[int]) -> Sequence[int]:
        if counts and len(counts) != self.rows:
            raise FeatureError(
                f"{self.where}.{field}", f"has {len(counts)} entries for {self.rows} actions"
            )
        return counts

    def numbers(self, counts: Sequence[int], names: Sequence[str], values: Sequence[float]) -> None:
        named = self._matched("numeric", counts, names, values)
        if named:
            value = np.array(list(values), np.float64)
            self._check(value, f"{self.where}.numeric_values")
            if self.order is not None:
                places, counts = self._places(counts, self.order)
                named, value = tuple([named[i] for i in places]), value[places]
            part = Part(self.where, self.namespace, "numeric", named, (), tuple(counts))
            self._add(part, value)

    def categories(
        self, counts: Sequence[int], names: Sequence[str], values: Sequence[str]
    ) -> None:
        named = self._matched("categorical", counts, names, values)
        if named:
            categories = tuple(values)
            if self.order is not None:
                places, counts = self._places(counts, self.order)
                named = tuple([named[i] for i in places])
                categories = tuple([categories[i] for i in places])
            part = Part(self.where, self.namespace, "categorical", named, categories, tuple(counts))
            self._add(part, np.ones(len(named)))

    def vectors(self, names: Sequence[str], sizes: Sequence[int], data: bytes) -> None:
        """Each row has one vector of each name; data holds them row after row."""
        if len(names) > 1 and len(set(names)) != len(names):
            i = next(i for i, name in enumerate(names) if name in names[:i])
            raise FeatureError(f"{self.where}.vector_names[{i}]", "comes twice")
        expected = 4 * self.rows * sum(sizes)
        if len(data) != expected:
            raise FeatureError(
                f"{self.where}.vector_data",
                f"has {len(data)} bytes where the sizes ask for {expected} (float32)",
            )
        if not expected:
            return
        value = np.frombuffer(data, "<f4").astype(np.float64)
        self._check(value, f"{self.where}.vector_data")
        if self.order is not None:
            value = value.reshape(self.rows, -1)[self.order].reshape(-1)
        part = Part(self.where, self.namespace, "vector", tuple(names), (), tuple(sizes))
        self._add(part, value)

    def finish(self) -> tuple[NDArray[np.intp], Features]:
        """(row starts [rows + 1], features sorted by row, namespace, index)."""
        rows = self.rows if self.order is None else len(self.order)
        if not self.parts:
            return np.zeros(rows + 1, np.intp), NO_FEATURES
        found = layout_of(self.role, rows, tuple(self.parts))
        value = self.values[0] if len(self.values) == 1 else np.concatenate(self.values)
        features = Features(found.index, value[found.order], found.namespace, found.numeric)
        return found.start, features

    def named(self, kind: str, names: Sequence[str]) -> None:
        """Refuses an empty name."""
        if "" in names:
            raise FeatureError(f"{self.where}.{kind}_names[{list(names).index('')}]", "is empty")

    def _places(
        self, counts: Sequence[int], order: NDArray[np.intp]
    ) -> tuple[list[int], Sequence[int]]:
        """Where the features of the rows wanted are, row after row, and how many each of these rows has."""
        ends = list(accumulate(counts))
        rows = order.tolist()
        return (
            [i for k in rows for i in range(ends[k] - counts[k], ends[k])],
            [counts[k] for k in rows],
        )

    def _add(self, part: Part, value: NDArray[np.float64]) -> None:
        self.parts.append(part)
        self.values.append(value)

    def _matched(
        self, kind: str, counts: Sequence[int], names: Sequence[str], values: Sequence[object]
    ) -> tuple[str, ...]:
        """The names, each of which has a value and a row."""
        if len(names) != len(values):
            raise FeatureError(
                f"{self.where}.{kind}_values", f"has {len(values)} entries for {len(names)} names"
            )
        if sum(counts) != len(names):
            raise FeatureError(
                f"{self.where}.{kind}_counts", f"sum to {sum(counts)} for {len(names)} names"
            )
        if not names:
            return ()
        found = tuple(names)
        self.named(kind, found)
        return found

    def _check(self, value: NDArray[np.float64], field: str) -> None:
        # NaN is the greatest and the least wherever it is, and compares false.
        if (
            np.maximum.reduce(value) <= self.magnitude
            and np.minimum.reduce(value) >= -self.magnitude
        ):
            return
        i = int(np.argmax(~(np.abs(value) <= self.magnitude)))
        raise FeatureError(
            f"{field}[{i}]", f"is {value[i]}; must be finite and at most {self.magnitude:g}"
        )


NO_FEATURES = Features(
    np.empty(0, np.uint64), np.empty(0), np.empty(0, np.uint8), np.empty(0, np.bool_)
)
