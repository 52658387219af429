"""What Vowpal Wabbit reads: one decision as lines of its text format.

With `--cb_explore_adf`, the label on the chosen action's line:

    shared |c 2889437017:0.5 |u 912559:1
    |i 3364722441 |a 77:1.5
    0:-1:0.25 |i 1849221 |a 77:0.25

With `--ccb_explore_adf`, the label on the line of the slot, which comes last:

    ccb shared |c 2889437017:0.5 |u 912559:1
    ccb action |i 3364722441 |a 77:1.5
    ccb action |i 1849221 |a 77:0.25
    ccb slot 1:-1:0.25 |0 61234

Nothing here checks what it is given: names are numbers by then, see `policies.vw.policy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Label(NamedTuple):
    """What came of a decision."""

    chosen: int  # index of the action
    cost: float  # the negative reward
    probability: float  # with which it was chosen

    def __str__(self) -> str:
        return f"{self.cost:.9g}:{self.probability:.9g}"


@dataclass(frozen=True, slots=True)
class Example:
    """One decision, in words such as "|c 77:0.5 78:1 |u 3:1"."""

    context: str
    actions: list[str]  # [K]
    slot: str
    label: Label | None = None

    def lines(self, ccb: bool) -> list[str]:
        """As VW reads it, the shared line first, then K actions; with `ccb` the slot after them."""
        if not ccb:
            actions = list(self.actions)
            if self.label is not None:
                k = self.label.chosen
                actions[k] = f"0:{self.label} {actions[k]}"
            return [f"shared {self.context}", *actions]
        label = "" if self.label is None else f"{self.label.chosen}:{self.label} "
        return [
            f"ccb shared {self.context}",
            *(f"ccb action {action}" for action in self.actions),
            f"ccb slot {label}{self.slot}",
        ]
