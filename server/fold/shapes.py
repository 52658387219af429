"""Logged decisions that are alike but for their numbers, read by where the numbers stand.

Most decisions of an app ask about the same features and actions, and differ in values and probabilities alone. So what names
come to, hashed and sorted, is worked out once, together with the places of the numbers in the bytes. The next decision whose
other bytes are the same is read by copying its numbers from there: equal bytes in front of a number mean, by protobuf's wire
format, that it is the same field of the same message. Whatever is not so simple is read by protobuf, with the same result.
"""

from __future__ import annotations

from math import isnan
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from policies import ActionSet, Interaction
from rankd.v1 import log_pb2 as pb
from server.fold.decide import PER_SLOT, Question
from server.fold.interactions import interactions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from policies import Features
    from rankd.v1 import features_pb2

    Group = features_pb2.Features | features_pb2.ActionFeatures

# Shapes that are kept: each takes its decisions' bytes without the numbers, and as much again or twice for arrays, so 1,024
# x 16 kB x 3 = 50 MB if clients fill it on purpose. When it is full it is emptied.
_SHAPES, _SHAPE_BYTES = 1_024, 16 << 10
# Shapes that begin with the same bytes are tried one after another.
_ALIKE = 8
# Making a shape takes as long as reading ten decisions without one. When so many have been made, each must have been of use
# so often, or no more are made.
_TRIED, _WORTH = 256, 16
# Bytes in front by which a shape is looked up: they tell how long the first group of features is.
_KEY = 8
# Below this a number is one byte in a ranking.
_BYTE = 128

_F8, _F4 = np.dtype("<f8"), np.dtype("<f4")
_ONE = np.ones(1)
_DOUBLE = Struct("<d")
# Fields of rankd.v1.Decision. Those up to the last here are of the same length in all decisions of a shape.
_CONTEXT, _ACTION_FEATURES, _PMF, _RANKING, _PROBABILITIES, _LAST = 1, 3, 7, 8, 9, 10
# Fields of rankd.v1.Features and rankd.v1.ActionFeatures: (numeric_values, vector_data).
_NUMBERS = {_CONTEXT: (3, 8), _ACTION_FEATURES: (4, 9)}


class Facts(NamedTuple):
    """What the running sums in `report` are made of: a decision's first slot."""

    pmf: Sequence[float]  # [K]
    chosen: int
    baseline: int  # the first eligible action
    preferred: int


class Shape:
    """Decisions with one slot that differ in their numbers only, as far as `_LAST`."""

    def __init__(self, payload: bytes, decision: pb.Decision, spans: _Spans) -> None:
        self.slots = tuple(decision.slot_ids)
        self.deferred = decision.defer_activation
        self._spans = spans
        self._where = list(spans.between())
        self._constant = [payload[where] for where in self._where]
        # The encoder says where each value goes, as it is given places for values.
        marked = pb.Decision()
        marked.CopyFrom(decision)
        _mark(marked.context)
        _mark(marked.action_features)
        question = Question.of(marked)
        self._context = _Columns(question.context, spans.context)
        self._features = _Columns(question.actions.features, spans.actions)
        self._actions = question.actions  # but for their values
        self._actions.start.setflags(write=False)
        self._eligible = question.eligible
        self._all = question.eligible.tolist() == list(range(question.count))
        self._at = {k: i for i, k in enumerate(question.eligible.tolist())}
        self._baseline = int(question.eligible.min())
        self._pmf = Struct(f"<{question.count}d")

    def fits(self, payload: bytes) -> bool:
        """Whether these are the bytes of such a decision."""
        return [payload[where] for where in self._where] == self._constant

    def read(self, payload: bytes, rewards: dict[int, float]) -> tuple[list[Interaction], Facts]:
        """What a decision that fits teaches with these rewards: as `interactions` would say.

        Raises:
            ValueError: it is none that rankd writes.
        """
        spans = self._spans
        pmf = self._pmf.unpack_from(payload, spans.pmf)
        chosen = payload[spans.ranking]
        rest = pb.Decision.FromString(payload[spans.end :])
        facts = Facts(pmf, chosen, self._baseline, rest.preferred)
        if 0 not in rewards:
            return [], facts
        at = self._at.get(chosen)
        if at is None:
            raise ValueError(f"action {chosen} was not eligible")
        (probability,) = _DOUBLE.unpack_from(payload, spans.probability)
        if probability == 1.0:  # returned whatever the policy says: the baseline
            played = (self._eligible == chosen).astype(np.float64)
        elif pmf[chosen] > 0.0 and min(pmf) >= 0.0:
            played = np.array(pmf)
            if not self._all:
                played = played[self._eligible]
        else:
            return list(interactions(pb.Decision.FromString(payload), rewards)), facts
        actions = self._actions
        if spans.actions:
            actions = ActionSet(actions.ids, actions.start, self._features.read(payload))
        interaction = Interaction(
            self._context.read(payload),
            actions,
            at,
            played,
            rewards[0],
            np.array(rest.base_probabilities) if rest.base_probabilities else None,
        )
        return [interaction], facts


class Shapes:
    """The shapes that a log's decisions have had."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, list[Shape]] = {}
        self.kept = self.made = 0  # shapes that are there, and that were made
        self._used = 0

    def of(self, payload: bytes) -> Shape | None:
        """The decision's shape; None where it has none, or where shapes do not pay."""
        for shape in self._by_key.get(payload[:_KEY], ()):
            if shape.fits(payload):
                self._used += 1
                return shape
        if self.made >= _TRIED and self._used < _WORTH * self.made:
            return None
        self.made += 1
        try:
            decision = pb.Decision.FromString(payload)
            spans = _spans(payload, decision)
            made = None if spans is None else Shape(payload, decision, spans)
        except (DecodeError, ValueError):
            return None  # whoever reads it will say what is wrong
        if made is not None:
            self._keep(payload[:_KEY], made)
        return made

    def read(self, payload: bytes, rewards: dict[int, float]) -> tuple[list[Interaction], Facts]:
        """What a logged decision teaches with these rewards, and what there is to report of it.

        Raises:
            DecodeError, ValueError, IndexError: it is no decision that rankd writes.
        """
        shape = self.of(payload)
        if shape is not None:
            return shape.read(payload, rewards)
        decision = pb.Decision.FromString(payload)
        return list(interactions(decision, rewards)), facts_of(decision)

    def _keep(self, key: bytes, shape: Shape) -> None:
        if self.kept >= _SHAPES:
            self._by_key.clear()
            self.kept = 0
        alike = self._by_key.setdefault(key, [])
        if len(alike) == _ALIKE:
            alike.pop()
            self.kept -= 1
        alike.insert(0, shape)
        self.kept += 1


def facts_of(decision: pb.Decision) -> Facts:
    """What there is to report of a decision."""
    excluded = set(decision.excluded_ids)
    baseline = next(k for k, name in enumerate(decision.action_ids) if name not in excluded)
    return Facts(list(decision.pmf), decision.ranking[0], baseline, decision.preferred)


class _Span(NamedTuple):
    """Numbers side by side in a decision's bytes."""

    dtype: np.dtype[np.float64] | np.dtype[np.float32]
    size: int
    at: int


class _Columns:
    """Features whose values are in the bytes.

    Args:
        marked: whose values are their own places among all in the spans, from 1; or 1.0 in front of these, for categories,
            which is `marked` as `_mark` made it.
    """

    def __init__(self, marked: Features, spans: list[_Span]) -> None:
        self._features = marked
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
            return self._features
        parts = [np.frombuffer(payload, *span) for span in self._spans]
        whole = parts[0] if self._alone else np.concatenate((_ONE, *parts))
        value: NDArray[np.float64] = whole.take(self._order).astype(np.float64, copy=False)
        if isnan(value.dot(value)):  # squares: their sum is NaN only if one of them is
            raise ValueError("a feature's value is NaN")
        return self._features.with_value(value)


def _mark(groups: Iterable[Group]) -> None:
    """Replaces the numbers of all groups by 2, 3, 4 ... Categories are worth 1."""
    place = 2
    for group in groups:
        for i in range(len(group.numeric_values)):
            group.numeric_values[i] = place
            place += 1
        count = len(group.vector_data) // _F4.itemsize
        group.vector_data = np.arange(place, place + count).astype(_F4).tobytes()
        place += count


class _Spans(NamedTuple):
    """Where a decision's numbers are."""

    context: list[_Span]  # of features, in the order of the groups
    actions: list[_Span]
    variable: list[tuple[int, int]]  # these and all below, in the order of the bytes
    pmf: int
    ranking: int
    probability: int
    end: int

    def between(self) -> Iterator[slice]:
        """Where all other bytes are, up to the end."""
        start = 0
        for first, last in [*self.variable, (self.end, self.end)]:
            if first > start:
                yield slice(start, first)
            start = last


def _spans(payload: bytes, decision: pb.Decision) -> _Spans | None:
    """Where the decision's numbers are; None if it has no simple shape."""
    count = len(decision.action_ids)
    if not (
        len(decision.slot_probabilities) == 1
        and len(decision.slot_ids) <= 1
        and decision.sampler not in ("", PER_SLOT)
        and 0 < len(decision.ranking) <= count == len(decision.pmf) < _BYTE
        and max(decision.ranking) < count
    ):
        return None
    sizes = {_PMF: 8 * count, _RANKING: len(decision.ranking), _PROBABILITIES: 8}
    features: dict[int, list[_Span]] = {_CONTEXT: [], _ACTION_FEATURES: []}
    variable: list[tuple[int, int]] = []
    own: dict[int, int] = {}
    end = 0
    for field, at, stop in _fields(payload, 0, len(payload)):
        if field > _LAST:
            break
        end = stop
        if field in features:
            for dtype, first, last in _numbers(field, payload, at, stop):
                features[field].append(_Span(dtype, (last - first) // dtype.itemsize, first))
                variable.append((first, last))
        elif sizes.get(field) == stop - at:
            own[field] = at
            variable.append((at, stop))
    # What does not stand as protobuf writes it, field after field and each in one piece, is not looked for.
    found = sum(span.size for spans in features.values() for span in spans)
    groups: list[Group] = [*decision.context, *decision.action_features]
    wanted = sum(len(g.numeric_values) + len(g.vector_data) // _F4.itemsize for g in groups)
    constant = end - sum(last - first for first, last in variable)
    if list(own) != list(sizes) or found != wanted or constant > _SHAPE_BYTES:
        return None
    pmf, ranking, probability = own.values()
    return _Spans(
        features[_CONTEXT], features[_ACTION_FEATURES], variable, pmf, ranking, probability, end
    )


def _numbers(
    field: int, payload: bytes, at: int, end: int
) -> Iterator[tuple[np.dtype[np.float64] | np.dtype[np.float32], int, int]]:
    """(type, begin, end) of a group's numbers, then of its vectors."""
    numeric, vectors = _NUMBERS[field]
    before = 0
    for inner, first, last in _fields(payload, at, end):
        if inner < before:
            return
        before = inner
        if inner == numeric and last > first:
            yield _F8, first, last
        elif inner == vectors and last > first:
            yield _F4, first, last


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, begin, end) of the value of each field of a message that protobuf has parsed."""
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            _, stop = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            stop = at + size
        else:
            stop = at + (8 if kind == 1 else 4)
        yield tag >> 3, at, stop
        at = stop


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(the number that begins there, where it ends)."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < _BYTE:
            return value, at
