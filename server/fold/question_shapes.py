"""Questions that are alike but for their numbers, read by where the numbers stand in a decision's bytes: see `places`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies import ActionSet, Alike
from rankd.v1 import log_pb2 as pb
from server.fold.decide import AlikeQuestions, Question
from server.fold.places import ACTION_FEATURES, CONTEXT, Columns, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies import Features
    from server.fold.places import Found


class QuestionShape:
    """Decisions whose questions differ in their numbers only.

    Args:
        decision: one of them, or what was asked in it.
        found: where its numbers are.
    """

    def __init__(self, decision: pb.Decision, found: Found) -> None:
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
        context, features = len(question.context), len(question.actions.features)
        # Of one question, for a policy that looks at products of context and actions, too.
        self.elements = self.size * (1 + context) + features + context * features
        self.eligible = question.eligible
        self._actions = question.actions  # but for their values
        self._actions.start.setflags(write=False)

    def questions(
        self, payloads: Sequence[bytes], magnitude: float
    ) -> tuple[AlikeQuestions, NDArray[np.bool_]]:
        """(what is asked in the bytes of N >= 1 decisions that fit, [N] whether all numbers are within that magnitude; of NaN none is)."""
        context, features = self.context.table(payloads), self.features.table(payloads)
        right = _within(context, magnitude) & _within(features, magnitude)
        events = Alike(
            self.context.features,
            self._actions,
            self.context.values(context),
            self.features.values(features),
        )
        return AlikeQuestions(events, self.size, self.eligible), right

    def actions(self, features: Features) -> ActionSet:
        """The eligible actions with these features."""
        actions = self._actions
        if features is actions.features:  # they have no numbers
            return actions
        return ActionSet(actions.ids, actions.start, features)


def _within(table: NDArray[np.floating], magnitude: float) -> NDArray[np.bool_]:
    if not table.shape[1]:
        return np.ones(len(table), np.bool_)
    # NaN is the greatest and the least wherever it is, and compares false.
    # As numbers of 64 bits, as the encoder compares them.
    top = np.maximum.reduce(table, axis=1).astype(np.float64)
    bottom = np.minimum.reduce(table, axis=1).astype(np.float64)
    within: NDArray[np.bool_] = (top <= magnitude) & (bottom >= -magnitude)
    return within
