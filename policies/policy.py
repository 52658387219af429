"""What every policy is: pmf reads, learn writes, state carries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict

from policies.alike import stacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from policies.alike import Alike
    from policies.types import ActionSet, Features, Interaction, Scored


class PolicyError(ValueError):
    """A policy cannot be built or loaded as asked: wrong settings, or a state that is not its own."""


class PolicySettings(BaseModel):
    """Settings of one policy: checked at birth, frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class About(NamedTuple):
    """What somebody who chooses a policy wants to know of it, a sentence or two each."""

    paper: str  # where it comes from
    when: str  # to use it
    exploration: str  # how much it explores, and which setting changes that


class Policy(ABC):
    """A contextual bandit.

    `pmf` changes no state. `learn` is the only thing that does. Neither has a clock, does I/O or touches a global:
    what is random comes from the seed that is passed in.

    The caller (`Model`) hands over actions in the order of their ids, and features in canonical order. A policy sums
    in that order, one action at a time or elementwise over actions, so that a score does not depend on which
    other actions there are, unless `scores_jointly`.
    """

    name: ClassVar[str]
    """What a configuration calls it."""

    about: ClassVar[About | None] = None
    """For `rankd policies`, which shows the first paragraph of the class's docstring, too."""

    Settings: ClassVar[type[PolicySettings]] = PolicySettings

    structural: ClassVar[frozenset[str]] = frozenset()
    """Settings that shape the state. When one changes, learning starts afresh; any other may change under way."""

    version: ClassVar[int] = 1
    """Raised when the same log would lead to another state or pmf than before. A new version opens a new epoch."""

    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version can change the arithmetic, and so opens a new epoch too. numpy is not one of
    them for a policy that sums in an explicit order and uses only + - * / and sqrt."""

    compiles: ClassVar[bool] = False
    """Whether it loads numba, where that is installed: then the standardiser uses it, too."""

    slotwise: bool = False
    """Whether a slate's every slot is asked for anew, from what the slots before it left; the context then has a feature
    that names the slot (`features.with_slot`). All others are asked once, and slots are drawn from that one pmf."""

    scores_jointly: bool = False
    """Whether a score depends on the other actions, too, as UCB1's does on their number. What is expected never may."""

    @abstractmethod
    def __init__(self, settings: PolicySettings, reward_range: tuple[float, float]) -> None:
        """An untrained policy.

        Args:
            settings: an instance of `Settings`.
            reward_range: (lowest, highest) reward that the app accepts.

        Raises:
            PolicyError: the settings do not fit together; the message says which and what to do.
        """

    @abstractmethod
    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        """The probabilities over K >= 1 actions, without any floor; the caller mixes that in.

        Args:
            context: of the event, values standardised.
            actions: the K eligible actions, values standardised.
            seed: 64 random bits that belong to this event. The same seed gives the same pmf.
        """

    def pmf_alike(self, events: Alike, seeds: Sequence[int]) -> Scored:
        """`pmf` of N events that are alike, to the same bits: one by one, unless a policy knows better.

        Args:
            events: N >= 1, their values standardised.
            seeds: [N] of each event.
        """
        return stacked([self.pmf(*event, seed) for event, seed in zip(events, seeds, strict=True)])

    def expected(self, context: Features, actions: ActionSet) -> NDArray[np.float64] | None:
        """The rewards [K] that the policy expects, without any bonus for what is little known; None if it expects none.

        Args: as for `pmf`.
        """
        return None

    def report(self) -> dict[str, float]:
        """Figures of its own that an operator may want to see in `rankd status`, by name."""
        return {}

    @abstractmethod
    def learn(self, interactions: Sequence[Interaction]) -> None:
        """Learns from interactions, in order. One call with many equals many calls with one."""

    @abstractmethod
    def state(self) -> bytes:
        """The canonical state: equal policies give equal bytes, in every process."""

    @classmethod
    @abstractmethod
    def from_state(
        cls, settings: PolicySettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        """The policy whose `state` this is. Its state() gives the same bytes again.

        Raises:
            PolicyError: the bytes are not a state of this policy under these settings.
        """
