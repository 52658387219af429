"""The part of the contract that is about several events at once."""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING

import numpy as np

from policies.alike import Alike, stacked
from policies.check_problem import IDS, ask, assert_same, request, trained
from policies.types import ActionSet

if TYPE_CHECKING:
    from policies.check_problem import Request
    from policies.model import ModelSpec

_EVENTS = 5


def together_equals_alone(spec: ModelSpec) -> None:
    """Events that are alike, asked together, have the answers that each has alone, to the bit. Trained or not."""
    for model in (spec.build(), trained(spec)):
        for ids in (IDS, IDS[:1], ["a", "e never seen"]):
            alike = list(islice((r for t in count() if _phone(r := request(t, ids))), _EVENTS))
            for asked in (alike, alike[:1]):
                alone = stacked([ask(model, each) for each in asked])
                seeds = [each.seed for each in asked]
                together = model.pmf_alike(_alike(asked), seeds)
                assert_same(together, alone, f"{len(asked)} events together, of {len(ids)} actions")
                assert (together.bases is None) == (alone.bases is None), "bases are missing"
                if together.bases is not None and alone.bases is not None:
                    assert together.bases.tobytes() == alone.bases.tobytes(), "bases differ"


def _phone(asked: Request) -> bool:
    return asked.context["user"].categories["device"] == "phone"


def _alike(asked: list[Request]) -> Alike:
    encoded = [each.encode() for each in asked]
    context, actions = encoded[0]
    nothing = [np.full(len(each), np.nan) for each in (context, actions.features)]
    return Alike(
        context.with_value(nothing[0]),
        ActionSet(actions.ids, actions.start, actions.features.with_value(nothing[1])),
        np.array([context.value for context, _ in encoded]),
        np.array([actions.features.value for _, actions in encoded]),
    )
