"""Logged decisions that are alike but for their numbers, read by where the numbers stand.

A decision whose bytes are those of one before, but for the numbers, is read by copying these from where they stood there: equal bytes in
front of a number mean, by protobuf's wire format, that it is the same field of the same message. Whatever is not so simple is
read by protobuf, with the same result.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from policies import Interaction
from rankd.v1 import log_pb2 as pb
from server.fold.decide import PER_SLOT
from server.fold.interactions import interactions
from server.fold.kept import SHAPE_BYTES, Kept
from server.fold.places import Common, Found, find
from server.fold.question_shapes import QuestionShape
from server.fold.wire_format import BYTE

if TYPE_CHECKING:
    from collections.abc import Sequence

# Bytes in front by which a shape is looked up: they tell how long the first group of features is.
_KEY = 8
_DOUBLE = Struct("<d")
# Fields of rankd.v1.Decision. Those up to the last here are of the same length in all decisions of a shape.
_PMF, _RANKING, _PROBABILITIES, _LAST = 7, 8, 9, 10


class Facts(NamedTuple):
    """What the fold needs of a decision besides what it teaches: the running sums in `report` are made of its first slot."""

    pmf: Sequence[float]  # [K]
    chosen: int
    baseline: int  # the first eligible action
    preferred: int
    epoch: int  # of the model that decided


class Shape(QuestionShape):
    """Decisions with one slot that differ in their numbers only, as far as `_LAST`."""

    def __init__(self, payload: bytes, decision: pb.Decision, found: Found) -> None:
        super().__init__(decision, found)
        self._common = Common(payload, found.variable, found.end)
        self.slots = tuple(decision.slot_ids)
        self.deferred = decision.defer_activation
        self._pmf_at, self._ranking_at, self._probability_at = found.own.values()
        self._end = found.end
        eligible = self.eligible.tolist()
        self._all = eligible == list(range(self.size))
        self._at = {k: i for i, k in enumerate(eligible)}
        self._baseline = min(eligible)
        self._pmf = Struct(f"<{self.size}d")

    def fits(self, payload: bytes) -> bool:
        """Whether these are the bytes of such a decision."""
        return self._common.fits(payload)

    def read(self, payload: bytes, rewards: dict[int, float]) -> tuple[list[Interaction], Facts]:
        """What a decision that fits teaches with these rewards: as `interactions` would say.

        Raises:
            ValueError: it is none that rankd writes.
        """
        pmf = self._pmf.unpack_from(payload, self._pmf_at)
        chosen = payload[self._ranking_at]
        rest = pb.Decision.FromString(payload[self._end :])
        facts = Facts(pmf, chosen, self._baseline, rest.preferred, rest.epoch)
        if 0 not in rewards:
            return [], facts
        at = self._at.get(chosen)
        if at is None:
            raise ValueError(f"action {chosen} was not eligible")
        (probability,) = _DOUBLE.unpack_from(payload, self._probability_at)
        if probability == 1.0:  # returned whatever the policy says: the baseline
            played = (self.eligible == chosen).astype(np.float64)
        elif pmf[chosen] > 0.0 and min(pmf) >= 0.0:
            played = np.array(pmf)
            if not self._all:
                played = played[self.eligible]
        else:
            return list(interactions(pb.Decision.FromString(payload), rewards)), facts
        interaction = Interaction(
            self.context.read(payload),
            self.actions(self.features.read(payload)),
            at,
            played,
            rewards[0],
            np.array(rest.base_probabilities) if rest.base_probabilities else None,
        )
        return [interaction], facts


class Shapes:
    """The shapes that a log's decisions have had."""

    def __init__(self) -> None:
        self.kept = Kept[Shape]()

    def of(self, payload: bytes) -> Shape | None:
        """The decision's shape; None where it has none, or where shapes do not pay."""
        key = payload[:_KEY]
        shape = self.kept.find(key, payload)
        if shape is not None:
            return shape
        if not self.kept.worth_making(key):
            return None
        try:
            decision = pb.Decision.FromString(payload)
            found = _found(payload, decision)
            made = None if found is None else Shape(payload, decision, found)
        except (DecodeError, ValueError):
            return None  # whoever reads it will say what is wrong
        if made is not None:
            self.kept.keep(key, made)
        return made

    def read(self, payload: bytes, rewards: dict[int, float]) -> tuple[list[Interaction], Facts]:
        """What a logged decision teaches with these rewards, and what there is to report of it.

        Raises:
            DecodeError, ValueError, IndexError: it is no decision that rankd writes.
        """
        shape = self.of(payload)
        if shape is not None:
            return shape.read(payload, rewards)
        decision = pb.Decision.FromString(payload)
        return list(interactions(decision, rewards)), facts_of(decision)


def facts_of(decision: pb.Decision) -> Facts:
    """What there is to report of a decision."""
    excluded = set(decision.excluded_ids)
    baseline = next(k for k, name in enumerate(decision.action_ids) if name not in excluded)
    pmf, chosen = list(decision.pmf), decision.ranking[0]
    return Facts(pmf, chosen, baseline, decision.preferred, decision.epoch)


def _found(payload: bytes, decision: pb.Decision) -> Found | None:
    """Where the decision's numbers are; None if it has no simple shape."""
    count = len(decision.action_ids)
    if not (
        len(decision.slot_probabilities) == 1
        and len(decision.slot_ids) <= 1
        and decision.sampler not in ("", PER_SLOT)
        and 0 < len(decision.ranking) <= count == len(decision.pmf) < BYTE
        and max(decision.ranking) < count
    ):
        return None
    sizes = {_PMF: 8 * count, _RANKING: len(decision.ranking), _PROBABILITIES: 8}
    found = find(payload, decision, _LAST, sizes)
    if found is None or found.constant > SHAPE_BYTES:
        return None
    return found
