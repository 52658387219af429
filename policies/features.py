"""From named features to sparse vectors: names are hashed, never parsed, so they can inject nothing.

Feature hashing after Weinberger et al. (2009), "Feature Hashing for Large Scale Multitask Learning", but with 64 bits
and no buckets: whether and how to fold the indices into a smaller space is each policy's own affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

import numpy as np

from policies.types import ActionSet, Features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# Names whose hashes are kept. Names longer than 64 characters are hashed each time, because a client that sends ever new
# ones must not fill the memory: 65,536 x (2 names of 64 characters + 300 bytes) = 28 MB at worst (ASCII).
_CACHE = 65_536
_CACHED_LENGTH = 64
# Vector layouts are few. Longer ones are hashed each time: 256 x 4,096 elements x 8 bytes = 8 MB at worst.
_VECTOR_CACHE = 256
_CACHED_SIZE = 4_096


class FeatureError(ValueError):
    """A feature was refused. `field` is its path within the request, `reason` says what is wrong with it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


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


def feature_index(*parts: str) -> int:
    """64 bits of BLAKE2b over the parts, each led by its length, so that no two lists of parts look alike.

    >>> feature_index("a", "bc") == feature_index("ab", "c")
    False
    """
    return _hash_for(parts)(*parts)


def _index(*parts: str) -> int:
    digest = blake2b(digest_size=8, person=b"rankd.feature")
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "little"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "little")


_cached_index = lru_cache(maxsize=_CACHE)(_index)


def _hash_for(names: Sequence[str]) -> Callable[..., int]:
    """The hash to use for names that may be too long to be kept."""
    return _index if max(map(len, names)) > _CACHED_LENGTH else _cached_index


def _vector_index(size: int, *parts: str) -> NDArray[np.uint64]:
    """The indices of a vector's elements, [size]."""
    index = np.array([_index(*parts, str(i)) for i in range(size)], np.uint64)
    index.setflags(write=False)
    return index


_cached_vector_index = lru_cache(maxsize=_VECTOR_CACHE)(_vector_index)


def namespace_letter(namespace: str, role: str) -> int:
    """The letter by which VW's interactions name a namespace: its own first ASCII letter, or the role's ('c', 'a').

    >>> chr(namespace_letter("user", "c")), chr(namespace_letter("", "a")), chr(namespace_letter("|x", "c"))
    ('u', 'a', 'c')
    """
    first = namespace[:1]
    return ord(first) if first.isascii() and first.isalpha() else ord(role)


def action_index(action_id: str) -> int:
    """The index of the feature "this is that action", for policies that share one model among actions."""
    return feature_index("i", action_id)


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
        builder.numbers([len(group.numeric_names)], group.numeric_names, group.numeric_values)
        builder.categories(
            [len(group.categorical_names)], group.categorical_names, group.categorical_values
        )
        if len(names) != len(sizes):
            raise FeatureError(
                f"{builder.where}.vector_sizes", f"has {len(sizes)} entries for {len(names)} names"
            )
        builder.named("vector", names)
        builder.vectors(names, sizes, group.vector_data)
    return builder.finish()[1]


def encode_actions(
    ids: Sequence[str], groups: Sequence[NamedActionFeatures], magnitude: float = 1e6
) -> ActionSet:
    """The actions' features in canonical order; the actions stay in the order given.

    Raises:
        FeatureError: as for `encode_context`; the field's path begins with "action_features".
    """
    builder = _Builder(len(ids), "a", magnitude)
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
        if group.vector_size or group.vector_data:
            builder.vectors([""], [group.vector_size], group.vector_data)
    start, features = builder.finish()
    return ActionSet(tuple(ids), start, features)


@dataclass(frozen=True, slots=True)
class _Part:
    """Features of one kind in one namespace, as the request has them."""

    row: NDArray[np.intp]  # [n] which thing has it
    index: NDArray[np.uint64]  # [n]
    value: NDArray[np.float64]  # [n]
    letter: int
    numeric: bool
    names: str  # the path of the names within the request


class _Builder:
    """Gathers the features of `rows` things, then sorts them once."""

    def __init__(self, rows: int, role: str, magnitude: float) -> None:
        self.rows = rows
        self.role = role
        self.magnitude = magnitude
        self.where = ""
        self.namespace = ""
        self.seen: set[str] = set()
        self.letter = 0
        self.parts: list[_Part] = []

    def open(self, where: str, namespace: str) -> None:
        self.where = where
        if namespace in self.seen:
            raise FeatureError(f"{where}.namespace", f"{namespace!r} comes twice")
        self.seen.add(namespace)
        self.namespace = namespace
        self.letter = namespace_letter(namespace, self.role)

    def counts(self, field: str, counts: Sequence[int]) -> Sequence[int]:
        if counts and len(counts) != self.rows:
            raise FeatureError(
                f"{self.where}.{field}", f"has {len(counts)} entries for {self.rows} actions"
            )
        return counts

    def numbers(self, counts: Sequence[int], names: Sequence[str], values: Sequence[float]) -> None:
        row = self._rows("numeric", counts, names, values)
        if row is None:
            return
        value = np.asarray(values, np.float64)
        self._check(value, f"{self.where}.numeric_values")
        role, space, hashed = self.role, self.namespace, _hash_for([*names, self.namespace])
        index = np.array([hashed(role, "n", space, name) for name in names], np.uint64)
        self._add("numeric", row, index, value)

    def categories(
        self, counts: Sequence[int], names: Sequence[str], values: Sequence[str]
    ) -> None:
        row = self._rows("categorical", counts, names, values)
        if row is None:
            return
        role, space = self.role, self.namespace
        hashed = _hash_for([*names, *values, self.namespace])
        index = np.array(
            [
                hashed(role, "s", space, name, value)
                for name, value in zip(names, values, strict=True)
            ],
            np.uint64,
        )
        self._add("categorical", row, index, np.ones(len(index)))

    def vectors(self, names: Sequence[str], sizes: Sequence[int], data: bytes) -> None:
        """Each row has one vector of each name; data holds them row after row."""
        if len(set(names)) != len(names):
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
        space = self.namespace
        index = np.concatenate(
            [
                (_cached_vector_index if size <= _CACHED_SIZE else _vector_index)(
                    size, self.role, "v", space, name
                )
                for name, size in zip(names, sizes, strict=True)
            ]
        )
        row = np.repeat(np.arange(self.rows), len(index))
        self._add("vector", row, np.tile(index, self.rows), value)

    def finish(self) -> tuple[NDArray[np.intp], Features]:
        """(row starts [rows + 1], features sorted by row, namespace, index)."""
        if not self.parts:
            return np.zeros(self.rows + 1, np.intp), _NOTHING
        sizes = [len(part.row) for part in self.parts]
        row = np.concatenate([part.row for part in self.parts])
        index = np.concatenate([part.index for part in self.parts])
        value = np.concatenate([part.value for part in self.parts])
        letter = np.repeat(np.array([part.letter for part in self.parts], np.uint8), sizes)
        numeric = np.repeat(np.array([part.numeric for part in self.parts], np.bool_), sizes)
        order = np.lexsort((index, letter, row))
        row, index, letter = row[order], index[order], letter[order]
        same = (index[1:] == index[:-1]) & (row[1:] == row[:-1])
        if same.any():
            raise FeatureError(self._path(order[1:][same].min()), "comes twice")
        start = np.searchsorted(row, np.arange(self.rows + 1)).astype(np.intp)
        return start, Features(index, value[order], letter, numeric[order])

    def _add(
        self,
        kind: str,
        row: NDArray[np.intp],
        index: NDArray[np.uint64],
        value: NDArray[np.float64],
    ) -> None:
        names = f"{self.where}.{kind}_names"
        self.parts.append(_Part(row, index, value, self.letter, kind == "numeric", names))

    def _path(self, i: int) -> str:
        """Where the request has the name of the i-th feature of all parts."""
        for part in self.parts:
            if i < len(part.row):
                return f"{part.names}[{i}]"
            i -= len(part.row)
        raise IndexError(i)

    def _rows(
        self, kind: str, counts: Sequence[int], names: Sequence[str], values: Sequence[object]
    ) -> NDArray[np.intp] | None:
        """The row of each entry, or None where there are no entries."""
        if len(names) != len(values):
            raise FeatureError(
                f"{self.where}.{kind}_values", f"has {len(values)} entries for {len(names)} names"
            )
        if sum(counts) != len(names):
            raise FeatureError(
                f"{self.where}.{kind}_counts", f"sum to {sum(counts)} for {len(names)} names"
            )
        self.named(kind, names)
        if not names:
            return None
        return np.repeat(np.arange(self.rows), counts)

    def named(self, kind: str, names: Sequence[str]) -> None:
        """Refuses an empty name."""
        if "" in names:
            raise FeatureError(f"{self.where}.{kind}_names[{list(names).index('')}]", "is empty")

    def _check(self, value: NDArray[np.float64], field: str) -> None:
        bad = ~(np.abs(value) <= self.magnitude)  # NaN compares false
        if bad.any():
            i = int(np.argmax(bad))
            raise FeatureError(
                f"{field}[{i}]", f"is {value[i]}; must be finite and at most {self.magnitude:g}"
            )


_NOTHING = Features(
    np.empty(0, np.uint64), np.empty(0), np.empty(0, np.uint8), np.empty(0, np.bool_)
)
