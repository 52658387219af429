"""One decision: what was asked, a model, and the app's salt give pmf, draw and ranking. Nothing else goes in.

Serving calls it to answer; `verify` calls it to check what was answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.features import encode_actions, encode_context
from policies.sampler import Purpose, draw_without_replacement, seed, uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies import ActionSet, Features, Model
    from rankd.v1 import decisions_pb2 as api
    from rankd.v1 import log_pb2 as pb
    from server.fold.settings import FoldSettings

SAMPLER = "plackett-luce"


@dataclass(frozen=True, slots=True)
class Question:
    """An event as a model sees it."""

    context: Features
    count: int  # K, the number of actions in the request
    eligible: NDArray[np.intp]  # [E] indices of those that may be chosen, sorted by id
    actions: ActionSet  # [E] in the order of `eligible`

    @classmethod
    def of(cls, asked: api.RankRequest | pb.Decision, magnitude: float = float("inf")) -> Question:
        """Encodes a request or a logged decision.

        Raises:
            FeatureError: a feature is refused; a logged decision's never are.
        """
        ids = list(asked.action_ids)
        excluded = set(asked.excluded_ids)
        free = (
            [k for k in range(len(ids)) if ids[k] not in excluded] if excluded else range(len(ids))
        )
        order = sorted(free, key=ids.__getitem__)
        eligible = np.array(order, np.intp)
        actions = encode_actions(ids, asked.action_features, magnitude)
        if order != list(range(len(ids))):
            actions = actions.take(eligible)
        return cls(encode_context(asked.context, magnitude), len(ids), eligible, actions)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided, in terms of the request's K actions."""

    pmf: NDArray[np.float64]  # [K] of the first slot; 0 where not eligible
    ranking: list[int]  # indices: each slot's action, then the other eligible ones, best first
    slot_probabilities: list[float]  # of each slot's action, given the slots before it
    preferred: int  # the first slot's action had the policy been free to choose


def decide(
    question: Question, slots: int, event_id: str, model: Model, settings: FoldSettings
) -> Answer:
    """Chooses an action for each of `slots` >= 1 slots (at most as many as are eligible)."""
    salt = bytes.fromhex(settings.salt)
    eligible = question.eligible
    scored = model.pmf(question.context, question.actions, seed(salt, Purpose.POLICY, 0, event_id))
    pmf, scores = scored.pmf, scored.scores
    order = [int(k) for k in np.argsort(-scores, kind="stable")]
    draws = min(slots, int(np.count_nonzero(pmf)))
    us = [uniform(salt, Purpose.DRAW, slot, event_id) for slot in range(draws)]
    drawn, probabilities = draw_without_replacement(pmf, us)
    if draws < slots:  # without a floor not all have a probability: the best others follow
        drawn += [k for k in order if k not in drawn][: slots - draws]
        probabilities += [1.0] * (slots - draws)
    preferred = int(eligible[drawn[0]])
    if settings.mode != "online":
        first = np.argsort(eligible, kind="stable")
        drawn, probabilities = [int(k) for k in first[:slots]], [1.0] * slots
        pmf = np.zeros(len(eligible))
        pmf[drawn[0]] = 1.0
    taken = set(drawn)
    rest = [k for k in order if k not in taken]
    full = np.zeros(question.count)
    full[eligible] = pmf
    ranking = [int(eligible[k]) for k in (*drawn, *rest)]
    return Answer(full, ranking, probabilities, preferred)
