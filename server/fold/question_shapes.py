"""Questions that are alike but for their numbers, read by where the numbers stand in a decision's bytes: see `places`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies import ActionSet
from rankd.v1 import log_pb2 as pb
from server.fold.decide import Question
from server.fold.places import ACTION_FEATURES, CONTEXT, Columns, mark

if TYPE_CHECKING:
    from policies import Features
    from server.fold.places import Found


class QuestionShape:
    """Decisions whose questions differ in their numbers only.

    Args:
        data: bytes of a decision, or of what was asked in it.
        decision: the same as a message.
        found: where its numbers are.
    """

    def __init__(self, data: bytes, decision: pb.Decision, found: Found) -> None:
        self._where = found.between
        self._constant = [data[where] for where in self._where]
        # The encoder says where each value goes, as it is given places for values.
        marked = pb.Decision()
        marked.CopyFrom(decision)
        mark(marked.context)
        mark(marked.action_features)
        question = Question.of(marked)
        self.context = Columns(question.context, found.features[CONTEXT])
        self.features = Columns(question.actions.features, found.features[ACTION_FEATURES])
        self.ids = list(decision.action_ids)  # [K] in the order of the request
        self.size = question.size
        self.eligible = question.eligible
        self._actions = question.actions  # but for their values
        self._actions.start.setflags(write=False)

    def fits(self, data: bytes) -> bool:
        """Whether these are the bytes of such a decision, or question."""
        return [data[where] for where in self._where] == self._constant

    def question(self, data: bytes, magnitude: float) -> Question | None:
        """What is asked in bytes that fit; None where a number is NaN or beyond that magnitude."""
        context = self.context.within(data, magnitude)
        features = self.features.within(data, magnitude)
        if context is None or features is None:
            return None
        return Question(context, self.size, self.eligible, self.actions(features))

    def actions(self, features: Features) -> ActionSet:
        """The eligible actions with these features."""
        actions = self._actions
        if features is actions.features:  # they have no numbers
            return actions
        return ActionSet(actions.ids, actions.start, features)
