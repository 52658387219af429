"""Requests from plain Python values, and replies as plain Python values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from operator import index
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from rankd.decision import Decision, Slot
from rankd.errors import InvalidArgument
from rankd.features import action_features, context_features
from rankd.ids import new_id
from rankd.v1 import decisions_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

Actions = Iterable[str] | Mapping[str, Mapping[str, object] | None]
"""Ids, or a dict of id -> features."""


class RankArgs(TypedDict):
    """One request of rank_many(): the arguments of rank(), but for the timeout."""

    context: Mapping[str, object]
    actions: Actions
    app: NotRequired[str | None]
    event_id: NotRequired[str | None]
    exclude: NotRequired[Iterable[str]]
    slots: NotRequired[Iterable[str]]
    k: NotRequired[int | None]
    defer_activation: NotRequired[bool]
    default_action: NotRequired[str | None]


def rank_request(
    context: Mapping[str, object],
    actions: Actions,
    *,
    app: str = "",
    event_id: str | None = None,
    exclude: Iterable[str] = (),
    slots: Iterable[str] = (),
    k: int | None = 0,
    defer_activation: bool = False,
) -> pb.RankRequest:
    """The message for one rank(). Where no event_id is given it gets a fresh one: without, no retry would be safe.

    Raises:
        InvalidArgument: a value that can be seen to be wrong without asking the service; the message says where it is.
        TypeError: a value of a wrong type; the message says where it is.

    >>> request = rank_request({"age": 31}, ["a", "b"], exclude=["b"])
    >>> request.action_ids, request.excluded_ids, len(request.event_id)
    (['a', 'b'], ['b'], 32)
    """
    ids = _ids(actions, "actions")
    return pb.RankRequest(
        app=app,
        event_id=_text(event_id, "event_id") if event_id else new_id(),
        context=context_features(context),
        action_ids=ids,
        action_features=action_features(actions) if isinstance(actions, Mapping) else (),
        excluded_ids=_ids(exclude, "exclude"),
        slot_ids=_ids(slots, "slots"),
        k=_count(k),
        defer_activation=defer_activation,
    )


def reward_request(
    decision: Decision | str,
    value: float,
    *,
    app: str = "",
    slot: str = "",
    reward_id: str | None = None,
) -> pb.RewardRequest:
    """The message for one reward(), with a fresh reward_id where none is given.

    Raises:
        InvalidArgument: the value is not finite.
        TypeError: a value of a wrong type.

    >>> request = reward_request("event-1", 0.5)
    >>> request.event_id, request.value, len(request.reward_id)
    ('event-1', 0.5, 32)
    """
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidArgument(f"value: is {number}; a reward is a finite number")
    return pb.RewardRequest(
        app=app,
        event_id=event_id_of(decision),
        value=number,
        slot_id=_text(slot, "slot"),
        reward_id=_text(reward_id, "reward_id") if reward_id else new_id(),
        decision_id=decision.decision_id if isinstance(decision, Decision) else "",
    )


def event_id_of(decision: Decision | str) -> str:
    """The id of the event that a decision, or the id itself, speaks of."""
    if isinstance(decision, Decision):
        return decision.event_id
    if isinstance(decision, str):
        return decision
    raise TypeError(f"a {type(decision).__name__} is neither a Decision nor an event_id")


def decision_of(request: pb.RankRequest, reply: pb.RankReply) -> Decision:
    """The service's reply to a request."""
    return Decision(
        app=request.app,
        event_id=reply.event_id,
        decision_id=reply.decision_id,
        action=reply.action_id,
        ranking=tuple(reply.ranking),
        probabilities=tuple(reply.probabilities),
        slots=tuple(
            map(Slot, reply.slot_ids, reply.slot_action_ids, reply.slot_probabilities),
        ),
        sampler=reply.sampler,
        epoch=reply.epoch,
        model_version=reply.model_version,
    )


def eligible(request: pb.RankRequest) -> list[str]:
    """The actions that may be chosen, in the request's order."""
    excluded = set(request.excluded_ids)
    return [action for action in request.action_ids if action not in excluded]


def default_decision(request: pb.RankRequest, action: str) -> Decision:
    """The decision made without the service: `action`, then the other eligible ones as they came.

    Raises:
        InvalidArgument: the action is not an eligible one.

    >>> default_decision(rank_request({}, ["a", "b", "c"], exclude=["a"]), "c").ranking
    ('c', 'b')
    """
    others = eligible(request)
    if action not in others:
        raise InvalidArgument(
            f"default_action: {action!r} is not one of the eligible actions {others}"
        )
    others.remove(action)
    ranking = (action, *others)
    # As the service does it: the slot of a single action has no name.
    numbered = range(request.k) if request.k > 1 else ()
    names = request.slot_ids or [str(i) for i in numbered]
    slots = tuple(Slot(name, shown, None) for name, shown in zip(names, ranking, strict=False))
    return Decision(
        app=request.app,
        event_id=request.event_id,
        decision_id="",
        action=action,
        ranking=ranking,
        probabilities=(),
        slots=slots,
        is_default=True,
    )


def _ids(values: Iterable[str], field: str) -> Sequence[str]:
    """Distinct things' ids. A set is sorted: in its own order a retry from another process would be another request."""
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{field}: is one {type(values).__name__}; give a list of str")
    ids = sorted(values, key=str) if isinstance(values, (set, frozenset)) else list(values)
    for i, value in enumerate(ids):
        _text(value, f"{field}[{i}]")
    return ids


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{field}: is a {type(value).__name__}; must be a str")
    return value


def _count(k: int | None) -> int:
    count = 0 if k is None else index(k)
    if not 0 <= count < 2**32:
        raise InvalidArgument(f"k: is {k}; must be the number of actions to draw (0 means 1)")
    return count
