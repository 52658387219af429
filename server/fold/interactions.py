"""From a logged decision and its final rewards to what policies learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from policies import Interaction
from policies.features import with_slot
from server.fold.decide import PER_SLOT, Question

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from rankd.v1 import log_pb2 as pb


def interactions(decision: pb.Decision, rewards: Mapping[int, float]) -> Iterator[Interaction]:
    """One interaction for each slot that has a reward, in slot order.

    Each slot's pmf is over what the slots before it left, conditional on them: the probabilities that it was
    really drawn with.
    """
    question = Question.of(decision)
    left, actions = question.eligible, question.actions
    last = len(decision.slot_probabilities) - 1
    names = slot_names(decision)
    for slot, probability in enumerate(decision.slot_probabilities):
        chosen = decision.ranking[slot]
        if slot in rewards:
            pmf = np.array(slot_pmf(decision, slot))[left]
            mass = float(np.add.accumulate(pmf)[-1])
            if probability == 1.0 or mass <= 0.0:  # returned whatever the policy says: the baseline
                pmf = (left == chosen).astype(np.float64)
            elif slot:
                pmf = pmf / mass
            at = left.tolist().index(chosen)
            context = question.context
            if decision.sampler == PER_SLOT:
                context = with_slot(context, names[slot])
            yield Interaction(context, actions, at, pmf, rewards[slot], _bases(decision, slot))
        if slot < last:
            keep = np.flatnonzero(left != chosen)
            left, actions = left[keep], actions.take(keep)


def slot_names(decision: pb.Decision) -> list[str]:
    """Names of the slots; one without a name where the request had none."""
    return list(decision.slot_ids) or [""]


def slot_pmf(decision: pb.Decision, slot: int) -> list[float]:
    """The pmf [K] over action_ids from which the slot was drawn, taken actions to be left out still."""
    if slot == 0 or decision.sampler != PER_SLOT:
        return list(decision.pmf)
    count = len(decision.action_ids)
    return list(decision.slot_pmfs[(slot - 1) * count : slot * count])


def _bases(decision: pb.Decision, slot: int) -> NDArray[np.float64] | None:
    """What each mixed policy gave the slot's action."""
    if not decision.base_probabilities:
        return None
    count = len(decision.base_probabilities) // len(decision.slot_probabilities)
    return np.array(decision.base_probabilities[slot * count : (slot + 1) * count])
