"""A share of the probability for actions that were seldom learned, whatever the policy thinks of them.

A policy that plays what it believes best may never try an action that came late: it begins with no reward to its name, beside
others that have some. Forced exploration of what is little known is as old as the problem (Robbins 1952, "Some Aspects of
the Sequential Design of Experiments"); here it is a fixed share, so that propensities stay as large as one likes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from policies.pack import pack, unpack
from policies.policy import PolicyError, PolicySettings
from policies.registry import checked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

# Most actions that are counted: 65,536 x (8 bytes and an id of 20 bytes, say) = 2 MB of state, 10 MB in memory.
CAPACITY = 65_536


class NewActionsSettings(PolicySettings):
    """How new actions are tried."""

    share: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="Share of decisions that is spread evenly over the eligible actions that are new, before min_exploration. "
        "0.05 tries each of ten new actions in one of 200 decisions. Nothing happens where all are new, or none.",
    )
    until: int = Field(
        default=20,
        ge=1,
        description="An action is new until it was learned so many times. Raise it where rewards are rare: 20 clicks at 2% need 1,000.",
    )


def new_actions_settings(config: Mapping[str, object]) -> NewActionsSettings:
    """The checked settings of `{setting: value ...}`.

    Raises:
        PolicyError: an unknown setting, or a value that the setting refuses; the message names it.
    """
    return checked(NewActionsSettings, config, "new_actions", "new_actions.")


class NewActions:
    """How often each action was learned, and the share for those that were so seldom.

    State: id and count of each action learned, at most `CAPACITY`: beyond that the one that was learned longest ago is forgotten, and
    is new if it comes again.
    """

    def __init__(self, settings: NewActionsSettings) -> None:
        self.settings = settings
        self._learned: OrderedDict[str, int] = OrderedDict()  # by id, learned longest ago first

    def mix(self, ids: Sequence[str], pmf: NDArray[np.float64]) -> NDArray[np.float64]:
        """The pmf [..., K] with the share given to the n of K actions that are new: (1 - share) * pmf, + share / n for those."""
        until, learned = self.settings.until, self._learned
        new = [k for k, action in enumerate(ids) if learned.get(action, 0) < until]
        if not 0 < len(new) < len(ids):
            return pmf
        mixed: NDArray[np.float64] = (1.0 - self.settings.share) * pmf
        mixed[..., new] += self.settings.share / len(new)
        return mixed

    def learn(self, action: str) -> None:
        """Counts an action that is learned."""
        self._learned[action] = self._learned.get(action, 0) + 1
        self._learned.move_to_end(action)
        if len(self._learned) > CAPACITY:
            self._learned.popitem(last=False)

    def state(self) -> bytes:
        """Canonical bytes."""
        counts = np.fromiter(self._learned.values(), np.int64, len(self._learned))
        return pack({"ids": list(self._learned)}, {"learned": counts})

    @classmethod
    def from_state(cls, settings: NewActionsSettings, state: bytes) -> Self:
        """The inverse of `state`.

        Raises:
            PolicyError: it is not a state of this.
        """
        header, arrays = unpack(state)
        ids, counts = header.get("ids"), arrays.get("learned", np.empty(0))
        if not isinstance(ids, list) or not all(isinstance(a, str) for a in ids):
            raise PolicyError("not a state of new actions: it has no ids")
        if len(set(ids)) != len(ids) or len(ids) > CAPACITY:
            raise PolicyError("not a state of new actions: ids come twice, or are too many")
        if counts.dtype != np.int64 or counts.shape != (len(ids),) or (counts < 1).any():
            raise PolicyError("not a state of new actions: counts do not match the ids")
        self = cls(settings)
        self._learned = OrderedDict(zip(ids, counts.tolist(), strict=True))
        return self
