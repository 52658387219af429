"""Which features a request has, whatever their values: hashed and sorted once for all requests that are alike in this."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from policies.hashing import hash_for, namespace_letter, vector_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Layouts that are kept: (features, characters of names) of one at most, and how many. An element takes 26 bytes in
# arrays, a name about 60 beside its characters: 1,024 x 60 kB = 61 MB and 16 x 2.4 MB = 38 MB if clients fill them on
# purpose. Larger ones, and those of names that never come again, are made each time.
_SMALL, _SMALLS = (512, 16_384), 1_024
_LARGE, _LARGES = (16_384, 524_288), 16


class FeatureError(ValueError):
    """A feature was refused. `field` is its path within the request, `reason` says what is wrong with it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Part(NamedTuple):
    """The features of one kind in one namespace, without their values."""

    where: str  # path of the namespace's message in the request
    namespace: str
    kind: Literal["numeric", "categorical", "vector"]
    names: tuple[str, ...]
    categories: tuple[str, ...]  # of each name, if categorical
    counts: tuple[int, ...]  # names of each row; of a vector, elements of each name


@dataclass(frozen=True, slots=True)
class Layout:
    """n features of `rows` things, sorted by row, namespace and index. The arrays are shared: never to be changed."""

    start: NDArray[np.intp]  # [rows + 1]
    index: NDArray[np.uint64]  # [n]
    namespace: NDArray[np.uint8]  # [n]
    numeric: NDArray[np.bool_]  # [n]
    order: NDArray[np.intp]  # [n] places of their values, the parts' one after another


def layout_of(role: str, rows: int, parts: tuple[Part, ...]) -> Layout:
    """The layout of the features of `rows` things.

    Args:
        role: "c" for the context, "a" for actions; equal names in the two are different features.

    Raises:
        FeatureError: a feature comes twice.
    """
    elements = characters = 0
    for part in parts:
        vector = part.kind == "vector"
        elements += rows * sum(part.counts) if vector else len(part.names)
        characters += sum(map(len, part.names)) + sum(map(len, part.categories))
    if elements <= _SMALL[0] and characters <= _SMALL[1]:
        return _small(role, rows, parts)
    if elements <= _LARGE[0] and characters <= _LARGE[1]:
        return _large(role, rows, parts)
    return _made(role, rows, parts)


def _made(role: str, rows: int, parts: tuple[Part, ...]) -> Layout:
    hashed = [_hashed(role, rows, part) for part in parts]
    sizes = [len(index) for _, index in hashed]
    row = np.concatenate([row for row, _ in hashed])
    index = np.concatenate([index for _, index in hashed])
    letters = [namespace_letter(part.namespace, role) for part in parts]
    letter = np.repeat(np.array(letters, np.uint8), sizes)
    numeric = np.repeat(np.array([part.kind == "numeric" for part in parts], np.bool_), sizes)
    order = np.lexsort((index, letter, row))
    row, index = row[order], index[order]
    same = (index[1:] == index[:-1]) & (row[1:] == row[:-1])
    if same.any():
        raise FeatureError(_path(parts, sizes, order[1:][same].min()), "comes twice")
    start = np.searchsorted(row, np.arange(rows + 1)).astype(np.intp)
    made = Layout(start, index, letter[order], numeric[order], order)
    for array in (start, index, made.namespace, made.numeric, order):
        array.setflags(write=False)
    return made


_small = lru_cache(maxsize=_SMALLS)(_made)
_large = lru_cache(maxsize=_LARGES)(_made)


def _hashed(role: str, rows: int, part: Part) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
    """(row, index) of each feature, in the order of the values."""
    space, names = part.namespace, part.names
    if part.kind == "vector":  # row after row
        vectors = zip(part.counts, names, strict=True)
        index = np.concatenate([vector_index(n, role, "v", space, name) for n, name in vectors])
        return np.repeat(np.arange(rows), len(index)), np.tile(index, rows)
    if part.kind == "numeric":
        hashed = hash_for([*names, space])
        found = [hashed(role, "n", space, name) for name in names]
    else:
        hashed = hash_for([*names, *part.categories, space])
        pairs = zip(names, part.categories, strict=True)
        found = [hashed(role, "s", space, name, value) for name, value in pairs]
    return np.repeat(np.arange(rows), part.counts), np.array(found, np.uint64)


def _path(parts: tuple[Part, ...], sizes: list[int], i: int) -> str:
    """Where the request has the name of the i-th feature of all parts."""
    for part, size in zip(parts, sizes, strict=True):
        if i < size:
            return f"{part.where}.{part.kind}_names[{i}]"
        i -= size
    raise IndexError(i)
