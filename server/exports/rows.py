"""What was learned, one row for each slot, in terms that every tool knows: action, propensity, reward, pmf."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING

from server.fold.interactions import slot_pmf
from server.fold.joined import JoinFold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rankd.v1 import log_pb2 as pb
    from server.fold.joined import JoinedRow
    from server.fold.records import LogRecord
    from server.fold.verify import LogSource


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One slot of a decision with its final reward. K actions were left to it, in the order of the request."""

    record: LogRecord  # the Decision's
    decision: pb.Decision
    slot: str  # its name; empty where the decision has no slots
    actions: list[int]  # [K] indices into decision.action_ids
    pmf: list[float]  # [K] given the slots before; sums to 1
    chosen: int  # index into `actions`
    reward: float


def rows(source: LogSource, app: str) -> Iterator[SlotRow]:
    """Every slot that has its final reward by the end of the log, in learning order.

    Raises:
        LogError: the log cannot be read.
    """
    for joined in JoinFold(source, app).rows():
        yield from slots_of(joined)


def slots_of(row: JoinedRow) -> Iterator[SlotRow]:
    """The slots of one decision that have a reward, in slot order."""
    decision = row.decision
    excluded = set(decision.excluded_ids)
    left = [k for k, name in enumerate(decision.action_ids) if name not in excluded]
    for slot, probability in enumerate(decision.slot_probabilities):
        chosen = decision.ranking[slot]
        if slot in row.rewards:
            name = decision.slot_ids[slot] if decision.slot_ids else ""
            pmf = _pmf(decision, left, chosen, slot, probability)
            at = left.index(chosen)
            yield SlotRow(row.record, decision, name, left, pmf, at, row.rewards[slot])
        left = [k for k in left if k != chosen]


def _pmf(
    decision: pb.Decision, left: list[int], chosen: int, slot: int, probability: float
) -> list[float]:
    """The probabilities that the slot was drawn with: the first one's pmf, shared out anew among what is left."""
    if probability == 1.0:  # the baseline's turn, or the only action that could be drawn
        return [float(k == chosen) for k in left]
    drawn_from = slot_pmf(decision, slot)
    pmf = [drawn_from[k] for k in left]
    if slot == 0:
        return pmf
    mass = fsum(pmf)
    return [probability if k == chosen else p / mass for k, p in zip(left, pmf, strict=True)]
