"""What rank() answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """What one slot of a decision shows."""

    name: str
    action: str
    probability: float | None
    """The probability that this action had, given the slots before it. None in a default decision."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What rank() answers. Immutable; it can be pickled and kept until the reward is known."""

    app: str
    """The app that was asked. Empty: the server's only one."""
    event_id: str
    decision_id: str
    """Names the stored decision, so that a reward cannot be joined to another one. Empty in a default decision."""
    action: str
    """The action to take (in the first slot)."""
    ranking: tuple[str, ...]
    """All eligible actions, best first; those of the slots lead, in slot order."""
    probabilities: tuple[float, ...]
    """probabilities[i]: how likely ranking[i] was to be chosen for the first slot. They sum to 1.
    Empty in a default decision."""
    slots: tuple[Slot, ...] = ()
    """In the order of the request. None, where one action was asked for."""
    sampler: str = ""
    """How the slots after the first were drawn: "plackett-luce", from what the slots before left of `probabilities`, or "per-slot",
    from probabilities of each slot's own. Empty where one action was asked for."""
    epoch: int = 0
    model_version: int = 0
    """(epoch, model_version) names the model that decided. (0, 0) in a default decision."""
    is_default: bool = False
    """Whether the service could not answer, and this is the default action. The log knows nothing of it,
    so its reward() and activate() do nothing."""

    @property
    def propensity(self) -> float | None:
        """The probability with which `action` was chosen. None in a default decision."""
        return self.probabilities[0] if self.probabilities else None
