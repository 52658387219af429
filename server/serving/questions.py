"""Requests that are alike but for their numbers: what the first one was found to be, the next ones are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankd.v1 import log_pb2 as pb
from server.fold.kept import SHAPE_BYTES, Kept
from server.fold.places import find
from server.fold.question_shapes import QuestionShape

if TYPE_CHECKING:
    from collections.abc import Hashable

# The last field of rankd.v1.Decision that belongs to the question.
_LAST = 6
# Bytes in front by which a shape is looked up, with the length: they tell how long the first group of features is, or the
# first action's id.
_KEY = 8


class Questions:
    """The shapes of questions that were answered, so nothing was wrong with them. For one process and its limits."""

    def __init__(self) -> None:
        self._kept = Kept[QuestionShape]()

    def find(self, question: bytes) -> QuestionShape | None:
        """The shape of a question, in the bytes that the log has of it, if one of that shape has been answered."""
        return self._kept.find(_key(question), question)

    def answered(self, question: bytes) -> None:
        """Nothing was wrong with this one, whose shape is not known yet."""
        if not self._kept.worth_making:
            return
        decision = pb.Decision.FromString(question)
        found = find(question, decision, _LAST, {})
        if found is not None and found.constant <= SHAPE_BYTES:
            self._kept.keep(_key(question), QuestionShape(question, decision, found))


def _key(question: bytes) -> Hashable:
    return len(question), question[:_KEY]
