"""One decision: what was asked, a model, and the app's salt give pmf, draw and ranking. Nothing else goes in.

Serving calls it to answer; `verify` calls it to check what was answered.
"""

from __future__ import annotations

from functools import lru_cache
from operator import lt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from policies.alike import stacked
from policies.features import encode_actions, encode_context, with_slot
from policies.sampler import (
    Purpose,
    draw,
    draw_alike,
    draw_without_replacement,
    seed,
    uniform,
)
from policies.types import in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from policies import ActionSet, Alike, Features, Model, Scored
    from rankd.v1 import decisions_pb2 as api
    from rankd.v1 import log_pb2 as pb
    from server.fold.settings import FoldSettings

# How the slots after the first are drawn: from what the slots before left of the first one's pmf ...
PLACKETT_LUCE = "plackett-luce"
# ... or from a pmf of the slot's own, if the policy is one that looks at slots.
PER_SLOT = "per-slot"


# Lists of ids whose order is remembered, and characters of one at most: 1,024 x (16 kB + 50 bytes an id) = 70 MB if clients fill it
# on purpose with ids of one character.
_LISTS, _CHARACTERS = 1_024, 16_384


class Question(NamedTuple):
    """An event as a model sees it."""

    context: Features
    size: int  # K, the number of actions in the request
    eligible: NDArray[np.intp]  # [E] indices of those that may be chosen, sorted by id
    actions: ActionSet  # [E] in the order of `eligible`

    @classmethod
    def of(cls, asked: api.RankRequest | pb.Decision, magnitude: float = float("inf")) -> Question:
        """Encodes a request or a logged decision.

        Raises:
            FeatureError: a feature is refused; a logged decision's never are.
        """
        ids = tuple(asked.action_ids)
        order = None
        if asked.excluded_ids:
            excluded = set(asked.excluded_ids)
            free = [k for k in range(len(ids)) if ids[k] not in excluded]
            eligible = order = np.array(sorted(free, key=ids.__getitem__), np.intp)
        elif all(map(lt, ids, ids[1:])):  # nothing to sort
            eligible = in_order(len(ids))
        elif sum(map(len, ids)) <= _CHARACTERS:
            eligible = order = _sorted(ids)
        else:
            eligible = order = _sorted.__wrapped__(ids)
        actions = encode_actions(ids, asked.action_features, magnitude, order)
        return cls(encode_context(asked.context, magnitude), len(ids), eligible, actions)


class AlikeQuestions(NamedTuple):
    """N events that differ in their numbers only."""

    events: Alike  # [N]
    size: int  # K, as above
    eligible: NDArray[np.intp]  # [E]


@lru_cache(_LISTS)
def _sorted(ids: tuple[str, ...]) -> NDArray[np.intp]:
    """What sorts the ids, [K]. Clients send the same ones again and again."""
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.intp)
    order.setflags(write=False)
    return order


class Answer(NamedTuple):
    """What was decided, in terms of the request's K actions."""

    pmf: NDArray[np.float64]  # [K] of the first slot; 0 where not eligible
    ranking: list[int]  # indices: each slot's action, then the other eligible ones, best first
    slot_probabilities: list[float]  # of each slot's action, given the slots before it
    preferred: int  # the first slot's action had the policy been free to choose
    sampler: str  # PLACKETT_LUCE or PER_SLOT
    slot_pmfs: list[float]  # if PER_SLOT: the pmf of each slot after the first, [K] after [K]
    # What each of B mixed policies gave each slot's action, [B] after [B].
    base_probabilities: list[float]


def decide(
    question: Question,
    slots: Sequence[str],
    event_id: str,
    model: Model,
    settings: FoldSettings,
) -> Answer:
    """Chooses an action for each slot.

    Args:
        slots: their names, at most as many as actions are eligible; one without a name where the request has none.
    """
    salt = bytes.fromhex(settings.salt)
    eligible = question.eligible
    if len(slots) == 1 and not model.slotwise:
        own = seed(salt, Purpose.POLICY, 0, event_id)
        scored = stacked([model.pmf(question.context, question.actions, own)])
        return _answers(scored, question.size, eligible, [event_id], settings)[0]
    pick = _slot_by_slot if model.slotwise else _at_once
    picked = pick(question, slots, event_id, model, salt)
    drawn, probabilities = picked.drawn, picked.probabilities
    pmf, pmfs = picked.pmfs[0], picked.pmfs[1:]
    preferred = int(eligible[drawn[0]])
    if settings.mode != "online":
        first = np.argsort(eligible, kind="stable")
        drawn, probabilities = [int(k) for k in first[: len(slots)]], [1.0] * len(slots)
        pmf, pmfs = _certain(drawn[0], pmf), [_certain(k, pmf) for k in drawn[1 : 1 + len(pmfs)]]
    taken = set(drawn)
    rest = [k for k in picked.order if k not in taken]
    return Answer(
        pmf=_spread(pmf, question.size, eligible),
        ranking=eligible[drawn + rest].tolist(),
        slot_probabilities=probabilities,
        preferred=preferred,
        sampler=PER_SLOT if model.slotwise else PLACKETT_LUCE,
        slot_pmfs=[p for each in pmfs for p in _spread(each, question.size, eligible).tolist()],
        base_probabilities=_base_probabilities(picked.bases, drawn),
    )


def decide_alike(
    questions: AlikeQuestions, event_ids: Sequence[str], model: Model, settings: FoldSettings
) -> list[Answer]:
    """`decide` for N >= 1 events with one slot each, to the same bits.

    Args:
        event_ids: [N]
    """
    if model.slotwise:
        size, eligible = questions.size, questions.eligible
        return [
            decide(Question(context, size, eligible, actions), [""], event_id, model, settings)
            for (context, actions), event_id in zip(questions.events, event_ids, strict=True)
        ]
    salt = bytes.fromhex(settings.salt)
    seeds = [seed(salt, Purpose.POLICY, 0, event_id) for event_id in event_ids]
    scored = model.pmf_alike(questions.events, seeds)
    return _answers(scored, questions.size, questions.eligible, event_ids, settings)


def _answers(
    scored: Scored,
    size: int,
    eligible: NDArray[np.intp],
    event_ids: Sequence[str],
    settings: FoldSettings,
) -> list[Answer]:
    """What is drawn for N events with one slot each, from pmfs and scores [N, E]."""
    salt = bytes.fromhex(settings.salt)
    us = np.array([uniform(salt, Purpose.DRAW, 0, event_id) for event_id in event_ids])
    pmf, bases = scored.pmf, scored.bases
    drawn, probabilities = draw_alike(pmf, us)
    preferred = eligible[drawn].tolist()
    if settings.mode != "online":
        drawn = np.full(len(drawn), eligible.argmin())
        probabilities = np.ones(len(drawn))
        pmf = np.zeros(pmf.shape)
        pmf[:, drawn[0]] = 1.0
    first = drawn[:, np.newaxis]
    order = _best_first(scored.scores)
    rest = order[order != first].reshape(len(drawn), -1)
    rankings = eligible[np.concatenate((first, rest), axis=1)].tolist()
    pmf = _spread(pmf, size, eligible)
    return [
        Answer(
            pmf[n],
            rankings[n],
            [probability],
            preferred[n],
            PLACKETT_LUCE,
            [],
            [] if bases is None else _base_probabilities([bases[n]], [int(drawn[n])]),
        )
        for n, probability in enumerate(probabilities.tolist())
    ]


class _Picked(NamedTuple):
    """Indices and arrays [E] are of the eligible actions."""

    drawn: list[int]  # for each slot
    probabilities: list[float]  # of these, given the slots before
    # [E] each: of the first slot, and of each other one that has its own.
    pmfs: list[NDArray[np.float64]]
    order: list[int]  # all, best first
    bases: list[NDArray[np.float64]]  # [B, E] each, in the same way; empty if none are mixed


def _at_once(
    question: Question, slots: Sequence[str], event_id: str, model: Model, salt: bytes
) -> _Picked:
    """One pmf, from which all slots are drawn without replacement."""
    scored = model.pmf(question.context, question.actions, seed(salt, Purpose.POLICY, 0, event_id))
    order = _best_first(scored.scores).tolist()
    draws = min(len(slots), int(np.count_nonzero(scored.pmf)))
    us = [uniform(salt, Purpose.DRAW, slot, event_id) for slot in range(draws)]
    drawn, probabilities = draw_without_replacement(scored.pmf, us)
    if draws < len(slots):  # without a floor not all have a probability: the best others follow
        drawn += [k for k in order if k not in drawn][: len(slots) - draws]
        probabilities += [1.0] * (len(slots) - draws)
    bases = [] if scored.bases is None else [scored.bases]
    return _Picked(drawn, probabilities, [scored.pmf], order, bases)


def _slot_by_slot(
    question: Question, slots: Sequence[str], event_id: str, model: Model, salt: bytes
) -> _Picked:
    """A pmf for each slot, over what the slots before it left."""
    count = len(question.eligible)
    left = np.arange(count)
    picked = _Picked([], [], [], [], [])
    for slot, name in enumerate(slots):
        actions = question.actions.take(left) if slot else question.actions
        context = with_slot(question.context, name)
        scored = model.pmf(context, actions, seed(salt, Purpose.POLICY, slot, event_id))
        if not slot:
            picked.order.extend(_best_first(scored.scores).tolist())
        k = draw(scored.pmf, uniform(salt, Purpose.DRAW, slot, event_id))
        picked.drawn.append(int(left[k]))
        picked.probabilities.append(min(1.0, float(scored.pmf[k])))
        pmf = np.zeros(count)
        pmf[left] = scored.pmf
        picked.pmfs.append(pmf)
        if scored.bases is not None:
            bases = np.zeros((len(scored.bases), count))
            bases[:, left] = scored.bases
            picked.bases.append(bases)
        left = np.delete(left, k)
    return picked


def _best_first(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Places of the scores [..., E], the greatest first; equal ones stay in their order."""
    return np.argsort(-scores, axis=-1, kind="stable")


def _certain(k: int, like: NDArray[np.float64]) -> NDArray[np.float64]:
    pmf = np.zeros_like(like)
    pmf[k] = 1.0
    return pmf


def _spread(pmf: NDArray[np.float64], size: int, eligible: NDArray[np.intp]) -> NDArray[np.float64]:
    """A pmf [..., E] over the eligible actions as one [..., K] over all that the request has."""
    if eligible is in_order(size):
        return pmf
    full = np.zeros((*pmf.shape[:-1], size))
    full[..., eligible] = pmf
    return full


def _base_probabilities(bases: list[NDArray[np.float64]], drawn: list[int]) -> list[float]:
    """What each mixed policy gave each slot's action, given the slots before: its share of what they left, or, where
    it left nothing, an equal share."""
    if not bases:
        return []
    found: list[float] = []
    left = np.arange(bases[0].shape[1])
    for slot, k in enumerate(drawn):
        pmfs = bases[min(slot, len(bases) - 1)]
        masses = np.add.accumulate(pmfs[:, left], axis=1)[:, -1]
        shares = np.where(masses > 0, pmfs[:, k] / np.where(masses > 0, masses, 1.0), 1 / len(left))
        found += np.minimum(shares, 1.0).tolist()
        left = left[left != k]
    return found
