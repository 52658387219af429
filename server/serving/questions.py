"""Requests that are alike but for their numbers: what the first one was found to be, the next ones are.

A request's bytes behind its app and event_id are what is asked. Where they are those of one before but for the numbers, so are the log's: these
are put together from what was the same then and the numbers as they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from server.fold.kept import SHAPE_BYTES, Kept
from server.fold.places import ACTION_FEATURES, CONTEXT, Common, find, numbers
from server.fold.question_shapes import QuestionShape
from server.fold.wire_format import fields, varint

if TYPE_CHECKING:
    from collections.abc import Hashable

    from server.fold.places import Found

# The last field of rankd.v1.Decision that belongs to the question.
_LAST = 6
# Fields of rankd.v1.RankRequest that have numbers, and what a Decision calls them.
_FEATURES = {3: CONTEXT, 5: ACTION_FEATURES}
# Bytes in front by which a shape is looked up, with the length: they tell how long the first group of features is, or the
# first action's id.
_KEY = 8


class RequestShape:
    """Requests, behind app and event_id, that differ in their numbers only.

    Args:
        tail: of one of them.
        data: what the log has of its question.
        question: the shape of that.
        found: where its numbers are.

    Raises:
        ValueError: the two do not have the same numbers.
    """

    def __init__(self, tail: bytes, data: bytes, question: QuestionShape, found: Found) -> None:
        self.question = question
        spans = _spans(tail)
        self._common = Common(tail, spans, len(tail))
        self._numbers = [slice(a, b) for a, b in spans]
        self._pieces = Common(data, found.variable, len(data)).pieces
        if len(self._numbers) != len(found.variable) or self.logged(tail) != data:
            raise ValueError("a question whose numbers are not those of its request")

    @property
    def constant(self) -> int:
        """How many bytes are the same in all requests of the shape."""
        return self._common.size

    def fits(self, tail: bytes) -> bool:
        """Whether these are the bytes of such a request."""
        return self._common.fits(tail)

    def logged(self, tail: bytes) -> bytes:
        """What the log has of a question that fits."""
        pieces = self._pieces.copy()
        for i, where in enumerate(self._numbers):
            pieces[i] += tail[where]
        return b"".join(pieces)


class Questions:
    """The shapes of requests that were answered, so nothing was wrong with them. For one process and its limits."""

    def __init__(self) -> None:
        self._kept = Kept[RequestShape]()

    def find(self, tail: bytes) -> RequestShape | None:
        """The shape of a request's `tail`, if one of that shape has been answered."""
        return self._kept.find(_key(tail), tail)

    def answered(self, tail: bytes, question: bytes) -> None:
        """Nothing was wrong with this one, whose shape is not known yet.

        Args:
            question: as the log has it.
        """
        key = _key(tail)
        if self._kept.knows(key, tail):  # of several that came together the first was enough
            return
        if not self._kept.worth_making(key):
            return
        decision = pb.Decision.FromString(question)
        found = find(question, decision, _LAST, {})
        if found is None or found.constant > SHAPE_BYTES:
            return
        try:
            shape = RequestShape(tail, question, QuestionShape(decision, found), found)
        except (ValueError, IndexError):  # it has fields that nobody knows, which look like numbers
            return
        if shape.constant > SHAPE_BYTES:
            return
        self._kept.keep(key, shape)


def tail(request: api.RankRequest) -> bytes:
    """The request's bytes behind app and event_id, its first two fields."""
    return request.SerializeToString()[_size(request.app) + _size(request.event_id) :]


def _size(text: str) -> int:
    """Bytes of a field with this text and a number below 16."""
    size = len(text) if text.isascii() else len(text.encode())
    return 1 + len(varint(size)) + size if size else 0


def _spans(tail: bytes) -> list[tuple[int, int]]:
    """(begin, end) of all numbers in a request's bytes, in their order."""
    return [
        (begin, end)
        for field, at, stop in fields(tail, 0, len(tail))
        if field in _FEATURES
        for _, begin, end in numbers(_FEATURES[field], tail, at, stop)
    ]


def _key(tail: bytes) -> Hashable:
    return len(tail), tail[:_KEY]
