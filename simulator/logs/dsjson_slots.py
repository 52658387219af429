"""The slots of one line of dsjson (VW's conditional contextual bandits): `c._slots` asks, `_outcomes` tells.

    "c": {..., "_multi": [...], "_slots": [{"_id": "s1", "size": "big"}, {"_id": "s2"}]},
    "_outcomes": [{"_id": "s1", "_label_cost": 0, "_a": [1, 0, 2], "_p": [0.8, 0.1, 0.1]},
                  {"_id": "s2", "_label_cost": -1, "_a": [2, 0], "_p": [0.9, 0.1]}]

`_a` counts from 0, its first entry was chosen, and it has the actions that the slots before have left. A single number
instead of a list is the chosen action alone, with its propensity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.logs.events import probability

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one slot, in indices of the line's actions."""

    key: str
    slot: int
    chosen: int
    eligible: list[int]  # [K] those that could be chosen, rising
    pmf: NDArray[np.float64] | None  # [K] aligned with `eligible`
    propensity: float
    cost: float | None  # None: not known
    features: dict[str, Any]  # of the slot
    slate: str = ""  # see Decided.slate


def slots_of(raw: dict[str, Any], key: str, count: int) -> list[Outcome]:
    """The slots of a line whose `c` has `count` actions.

    Raises:
        ValueError: the slots, or what is said of one, contradict each other; the message names the place.
    """
    slots = raw["c"].get("_slots", [])
    outcomes = raw["_outcomes"]
    if not isinstance(slots, list) or not isinstance(outcomes, list) or len(slots) != len(outcomes):
        raise ValueError("_outcomes and c._slots: must be two lists of one length")
    left = list(range(count))
    found = []
    for slot, (asked, told) in enumerate(zip(slots, outcomes, strict=True)):
        if not isinstance(asked, dict) or not isinstance(told, dict):
            raise ValueError(f"slot {slot}: must be an object in both c._slots and _outcomes")
        try:
            outcome = _outcome(asked, told, key, slot, left)
        except (ValueError, TypeError) as error:
            raise ValueError(f"_outcomes[{slot}]: {error}") from error
        found.append(outcome)
        left.remove(outcome.chosen)
    return found


def _outcome(
    asked: dict[str, Any], told: dict[str, Any], key: str, slot: int, left: list[int]
) -> Outcome:
    order, probabilities = told.get("_a"), told.get("_p")
    alone = not isinstance(order, list)
    order = [order] if alone else order
    probabilities = [probabilities] if not isinstance(probabilities, list) else probabilities
    if not order or len(order) != len(probabilities) or len(set(order)) != len(order):
        raise ValueError("_a and _p must be as many, at least one, and each action once")
    if not set(order) <= set(left):
        raise ValueError(f"_a is {order}; left were {left}")
    by_action = dict(zip(order, map(float, probabilities), strict=True))
    chosen = order[0]
    # Which actions a slot could have is known from `_a` alone, or else from what it asked for.
    included = asked.get("_inc", left)
    eligible = [k for k in left if k in included or k == chosen] if alone else sorted(order)
    pmf = None if alone else np.array([by_action[k] for k in eligible])
    cost = told.get("_label_cost")
    if cost is not None and (isinstance(cost, bool) or not math.isfinite(float(cost))):
        raise ValueError(f"_label_cost is {cost!r}: must be a finite number")
    return Outcome(
        key,
        slot,
        chosen,
        eligible,
        pmf,
        probability(by_action[chosen], "_p"),
        None if cost is None else float(cost),
        asked,
    )
