"""From a logged decision and its final rewards to what policies learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies import Interaction
from server.fold.decide import Question

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rankd.v1 import log_pb2 as pb


def interactions(decision: pb.Decision, rewards: Mapping[int, float]) -> Iterator[Interaction]:
    """One interaction for each slot that has a reward, in slot order.

    Each slot's pmf is over what the slots before it left, conditional on them: the probabilities that it was
    really drawn with.
    """
    question = Question.of(decision)
    logged = np.array(list(decision.pmf))
    left, actions = question.eligible, question.actions
    last = len(decision.slot_probabilities) - 1
    for slot, probability in enumerate(decision.slot_probabilities):
        chosen = decision.ranking[slot]
        if slot in rewards:
            pmf = logged[left]
            mass = float(np.add.accumulate(pmf)[-1])
            if probability == 1.0 or mass <= 0.0:  # returned whatever the policy says: the baseline
                pmf = (left == chosen).astype(np.float64)
            elif slot:
                pmf = pmf / mass
            at = left.tolist().index(chosen)
            yield Interaction(question.context, actions, at, pmf, rewards[slot])
        if slot < last:
            keep = np.flatnonzero(left != chosen)
            left, actions = left[keep], actions.take(keep)
