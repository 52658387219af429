"""Where the numbers of features stand in the bytes of a rankd.v1.Decision, and how to read them from there.

Decisions of an app mostly ask about the same features and actions, and differ in values alone. What names come to, hashed and
sorted, is then worked out once, together with the places of the numbers.
"""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from server.fold.wire_format import fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from policies import Features
    from rankd.v1 import features_pb2
    from rankd.v1 import log_pb2 as pb

    Group = features_pb2.Features | features_pb2.ActionFeatures

_F8, _F4 = np.dtype("<f8"), np.dtype("<f4")
_ONE = np.ones(1)
# Fields of rankd.v1.Decision that have numbers, and of these rankd.v1.Features' and rankd.v1.ActionFeatures' (numeric_values, vector_data).
CONTEXT, ACTION_FEATURES = 1, 3
_NUMBERS = {CONTEXT: (3, 8), ACTION_FEATURES: (4, 9)}


class Span(NamedTuple):
    """Numbers side by side in a decision's bytes."""

    dtype: np.dtype[np.float64] | np.dtype[np.float32]
    size: int
    at: int


class Columns:
    """Features whose values are in the bytes.

    Args:
        marked: whose values are their own places among all in the spans, from 1; or 1.0 in front of these, for categories,
            which is `marked` as `mark` made it.

    Attributes:
        features: with the marks as values.
    """

    def __init__(self, marked: Features, spans: list[Span]) -> None:
        self.features = marked
        self._spans = spans
        self._order = marked.value.astype(np.intp) - 1
        self._alone = len(spans) == 1 and bool((self._order > 0).all())
        if self._alone:
            self._order -= 1
        for array in (marked.index, marked.namespace, marked.numeric):
            array.setflags(write=False)  # so that what policies know of them is kept

    def read(self, payload: bytes) -> Features:
        """Raises ValueError where a number is NaN."""
        if not self._spans:
            return self.features
        value = self._taken(self._whole(payload))
        if isnan(value.dot(value)):  # squares: their sum is NaN only if one of them is
            raise ValueError("a feature's value is NaN")
        return self.features.with_value(value)

    def table(self, payloads: Sequence[bytes]) -> NDArray[np.floating]:
        """The numbers of N decisions, [N, m], those of actions that are left out among them."""
        parts: list[NDArray[np.floating]] = []
        for dtype, size, at in self._spans:
            part = slice(at, at + size * dtype.itemsize)
            data = b"".join([payload[part] for payload in payloads])
            numbers: NDArray[np.floating] = np.frombuffer(data, dtype)
            parts.append(numbers.reshape(-1, size))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts, axis=1) if parts else np.empty((len(payloads), 0))

    def values(self, table: NDArray[np.floating]) -> NDArray[np.float64]:
        """The features' values [N, n], from what `table` gave."""
        count = len(table)
        if not self._spans:
            return np.repeat(self.features.value[np.newaxis], count, axis=0)
        if not self._alone:
            table = np.concatenate((np.ones((count, 1)), table), axis=1)
        return self._taken(table)

    def _whole(self, payload: bytes) -> NDArray[np.floating]:
        parts: list[NDArray[np.floating]] = [np.frombuffer(payload, *span) for span in self._spans]
        return parts[0] if self._alone else np.concatenate((_ONE, *parts))

    def _taken(self, whole: NDArray[np.floating]) -> NDArray[np.float64]:
        return whole.take(self._order, axis=-1).astype(np.float64, copy=False)


def mark(groups: Iterable[Group]) -> None:
    """Replaces the numbers of all groups by 2, 3, 4 ... Categories are worth 1."""
    place = 2
    for group in groups:
        for i in range(len(group.numeric_values)):
            group.numeric_values[i] = place
            place += 1
        count = len(group.vector_data) // _F4.itemsize
        group.vector_data = np.arange(place, place + count).astype(_F4).tobytes()
        place += count


class Found(NamedTuple):
    """Where a decision's numbers are, as far as a certain field."""

    features: dict[int, list[Span]]  # by CONTEXT and ACTION_FEATURES, in the order of the groups
    variable: list[
        tuple[int, int]
    ]  # (begin, end) of these, and of other fields of the sizes asked for, in the order of the bytes
    own: dict[int, int]  # where these other fields begin
    end: int  # of the last field looked at

    @property
    def constant(self) -> int:
        """How many bytes are the same in all decisions of the shape."""
        return self.end - sum(last - first for first, last in self.variable)


class Common:
    """What all members of a shape have in common: the bytes around numbers.

    Args:
        data: of one member.
        spans: (begin, end) of the numbers, in their order.
        end: of what is looked at.

    Attributes:
        pieces: the bytes before each span, and those behind the last one.
    """

    def __init__(self, data: bytes, spans: list[tuple[int, int]], end: int) -> None:
        ends = [0, *(last for _, last in spans)]
        begins = [*(first for first, _ in spans), end]
        self._where = [slice(a, b) for a, b in zip(ends, begins, strict=True)]
        self.pieces = [data[where] for where in self._where]

    def fits(self, data: bytes) -> bool:
        """Whether these are the bytes of a member."""
        return [data[where] for where in self._where] == self.pieces

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return sum(map(len, self.pieces))


def find(data: bytes, decision: pb.Decision, last: int, sizes: dict[int, int]) -> Found | None:
    """Where the numbers of a decision with these bytes are; None where they do not stand as protobuf writes them.

    Args:
        last: number of the last field to look at.
        sizes: of other fields that differ between decisions of one shape, by number.
    """
    features: dict[int, list[Span]] = {CONTEXT: [], ACTION_FEATURES: []}
    variable: list[tuple[int, int]] = []
    own: dict[int, int] = {}
    end = 0
    for field, at, stop in fields(data, 0, len(data)):
        if field > last:
            break
        end = stop
        if field in features:
            for dtype, first, after in numbers(field, data, at, stop):
                features[field].append(Span(dtype, (after - first) // dtype.itemsize, first))
                variable.append((first, after))
        elif sizes.get(field) == stop - at:
            own[field] = at
            variable.append((at, stop))
    # What does not stand field after field and each in one piece is not looked for.
    found = sum(span.size for spans in features.values() for span in spans)
    groups: list[Group] = [*decision.context, *decision.action_features]
    wanted = sum(len(g.numeric_values) + len(g.vector_data) // _F4.itemsize for g in groups)
    if list(own) != list(sizes) or found != wanted:
        return None
    return Found(features, variable, own, end)


def numbers(
    field: int, payload: bytes, at: int, end: int
) -> Iterator[tuple[np.dtype[np.float64] | np.dtype[np.float32], int, int]]:
    """(type, begin, end) of a group's numbers, then of its vectors."""
    numeric, vectors = _NUMBERS[field]
    before = 0
    for inner, first, last in fields(payload, at, end):
        if inner < before:
            return
        before = inner
        if inner == numeric and last > first:
            yield _F8, first, last
        elif inner == vectors and last > first:
            yield _F4, first, last
