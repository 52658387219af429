"""What a request must satisfy before anything is done with it. Every refusal names its field."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from server.fold.records import parse_decision_id
from server.serving.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankd.v1 import decisions_pb2 as pb
    from server.fold.settings import FoldSettings
    from server.sections import Limits

# Personalizer's limit was 256 characters; bytes are what storage and other languages count.
ID_BYTES = 256
# Groups of features in one request, for its context and for its actions: a namespace each, where a few are usual. Empty ones take two bytes on
# the wire, and hundreds in memory.
GROUPS = 1_000
# UTF-8 has at most 4 bytes for a character.
_SURELY_SHORT = ID_BYTES // 4


def check_id(field: str, value: str, required: bool = True) -> None:
    """An id: 1 to 256 bytes of UTF-8 without NUL."""
    if not value:
        if required:
            raise InvalidArgumentError(field, "is empty")
        return
    size = len(value.encode())
    if size > ID_BYTES:
        raise InvalidArgumentError(field, f"has {size} bytes; at most {ID_BYTES} are allowed")
    if "\0" in value:
        raise InvalidArgumentError(field, "contains a NUL character")


def _surely_ids(values: Sequence[str]) -> bool:
    """Whether all are ids for sure, without a look at each one's bytes: what most requests have."""
    sizes = [len(value) for value in values]
    return min(sizes) > 0 and max(sizes) <= _SURELY_SHORT and "\0" not in "".join(values)


def _check_distinct(field: str, ids: Sequence[str]) -> None:
    if len(set(ids)) == len(ids):
        if not _surely_ids(ids):
            for i, value in enumerate(ids):
                check_id(f"{field}[{i}]", value)
        return
    seen: set[str] = set()
    for i, value in enumerate(ids):
        if value in seen:
            raise InvalidArgumentError(f"{field}[{i}]", f"{value[:ID_BYTES]!r} comes twice")
        seen.add(value)


def check_groups(request: pb.RankRequest) -> None:
    """Before anything goes through them: how many groups of features there are.

    Raises:
        InvalidArgumentError: too many.
    """
    for field, groups in (
        ("context", request.context),
        ("action_features", request.action_features),
    ):
        if len(groups) > GROUPS:
            raise InvalidArgumentError(
                field, f"has {len(groups)} groups of features; at most {GROUPS} are allowed"
            )


def check_scores(slots: int, eligible: int, named: bool, limits: Limits) -> None:
    """How often an action is scored for some slot, by a policy that looks at each slot.

    Args:
        named: whether the request names its slots.

    Raises:
        InvalidArgumentError: too often.
    """
    if slots * eligible > limits.scores:
        raise InvalidArgumentError(
            "slot_ids" if named else "k",
            f"asks for {slots} slots of {eligible} eligible actions, which this policy scores for each slot anew: "
            f"{slots * eligible} scores; at most {limits.scores} are allowed",
        )


def check_rank(request: pb.RankRequest, ids: Sequence[str], limits: Limits) -> list[str]:
    """Everything but the event's id and the features' values; returns the slots to fill, empty for a single unnamed one.

    Args:
        ids: the request's `action_ids`, as a list.

    Raises:
        InvalidArgumentError: naming the first field that is wrong.
    """
    if not ids:
        raise InvalidArgumentError("action_ids", "is empty; give at least one action")
    if len(ids) > limits.actions:
        raise InvalidArgumentError(
            "action_ids", f"has {len(ids)} actions; at most {limits.actions} are allowed"
        )
    _check_distinct("action_ids", ids)
    eligible = len(ids) - _excluded(request.excluded_ids, ids)
    _check_size(request, limits)
    return _slots(request, eligible)


def _excluded(excluded: Sequence[str], ids: Sequence[str]) -> int:
    """How many actions are excluded."""
    if not excluded:
        return 0
    _check_distinct("excluded_ids", excluded)
    known = set(ids)
    for i, value in enumerate(excluded):
        if value not in known:
            raise InvalidArgumentError(f"excluded_ids[{i}]", "is not one of action_ids")
    if len(excluded) == len(ids):
        raise InvalidArgumentError("excluded_ids", "excludes every action; leave at least one")
    return len(excluded)


def _slots(request: pb.RankRequest, eligible: int) -> list[str]:
    slots, k = list(request.slot_ids), request.k
    if slots and k:
        raise InvalidArgumentError("k", "cannot be given together with slot_ids")
    if slots:
        _check_distinct("slot_ids", slots)
        field = "slot_ids"
    else:
        field = "k"
        slots = [str(i) for i in range(min(k, eligible + 1))] if k > 1 else []
    if len(slots) > eligible:
        asked = k or len(slots)
        raise InvalidArgumentError(field, f"asks for {asked} of {eligible} eligible actions")
    return slots


def _check_size(request: pb.RankRequest, limits: Limits) -> None:
    """Every action is scored with the context, so a small request can be a lot of work."""
    context = sum(
        len(group.numeric_names) + len(group.categorical_names) + len(group.vector_data) // 4
        for group in request.context
    )
    actions = sum(
        len(rows.numeric_names) + len(rows.categorical_names) + len(rows.vector_data) // 4
        for rows in request.action_features
    )
    total = context * len(request.action_ids) + actions
    if total > limits.features:
        raise InvalidArgumentError(
            "context",
            f"has {context} features for each of {len(request.action_ids)} actions, and action_features has {actions}: "
            f"{total} in all; at most {limits.features} are allowed",
        )


def check_reward(request: pb.RewardRequest, settings: FoldSettings) -> None:
    """Ids and value of a reward.

    Raises:
        InvalidArgumentError: naming the first field that is wrong.
    """
    check_id("event_id", request.event_id)
    check_id("reward_id", request.reward_id, required=False)
    check_id("slot_id", request.slot_id, required=False)
    check_id("decision_id", request.decision_id, required=False)
    if request.decision_id and parse_decision_id(request.decision_id) is None:
        raise InvalidArgumentError("decision_id", "is not one that Rank returned")
    low, high = settings.reward_min, settings.reward_max
    if not math.isfinite(request.value) or not low <= request.value <= high:
        raise InvalidArgumentError(
            "value", f"is {request.value}; this app accepts {low:g} to {high:g}"
        )
