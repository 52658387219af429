"""Events that are alike but for their numbers, to be scored together: what is done once for all of them costs each a part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.types import ActionSet, Scored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from policies.types import Features


@dataclass(frozen=True, slots=True)
class Alike:
    """N events with the same features, of the same K actions. Their values alone differ."""

    context: Features  # of each, but for the values: those in here mean nothing
    actions: ActionSet  # [K] sorted by id; the same
    context_values: NDArray[np.float64]  # [N, c]
    action_values: NDArray[np.float64]  # [N, f] of all actions, one after the other

    def __len__(self) -> int:
        return len(self.context_values)

    def __iter__(self) -> Iterator[tuple[Features, ActionSet]]:
        """Context and actions of each event."""
        ids, start, features = self.actions.ids, self.actions.start, self.actions.features
        for context, action in zip(self.context_values, self.action_values, strict=True):
            yield (
                self.context.with_value(context),
                ActionSet(ids, start, features.with_value(action)),
            )


def stacked(scored: Sequence[Scored]) -> Scored:
    """What a policy answers for each of N >= 1 events, as one answer for all: arrays with N in front."""
    first = scored[0]
    return Scored(
        np.stack([each.pmf for each in scored]),
        np.stack([each.scores for each in scored]),
        None if first.bases is None else np.stack([e.bases for e in scored if e.bases is not None]),
    )
