"""What a choice of settings comes to. Estimates are as `evaluation.Estimate`, as JSON has it: value, low, high, interval, identifiable, reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Compared:
    """A candidate on the earlier part."""

    policy: str
    estimate: dict[str, Any]
    """As `evaluation.Estimate`: value, low, high, interval, identifiable, reason."""
    vs_logged: dict[str, Any]
    """By how much it exceeds what the log earned there, paired."""
    chance_best: float
    """How often it is best when the comparison is drawn again: see `choice`."""


@dataclass(frozen=True, slots=True)
class Valued:
    """A candidate on the later part."""

    policy: str
    role: str
    """"winner", "runner-up" or "default": the winner with all that varied left at its defaults."""
    estimate: dict[str, Any]
    vs_logged: dict[str, Any]
    """By how much it exceeds what the log earned there, paired."""
    winner_minus: dict[str, Any] | None
    """By how much the winner exceeds it, paired; None for the winner itself, or if one of them was refused."""
    when_chosen: Compared
    """What it was on the earlier part."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen, and what it is worth on rows that had no part in choosing it."""

    estimand: str
    estimator: str
    decided: int
    """Decisions in the log."""
    choose_on: float
    cut: int
    """The number, from 0, of the first decision that nothing was chosen on."""
    chosen_on: int
    """Rows that candidates were compared on."""
    valued_on: int
    """Rows that the winner was valued on."""
    left_out: int
    """Rewards of decisions before the cut that were final only after it: in neither part."""
    optimistic: bool
    """Whether the rows to choose on and to value on are the same: then values are too high."""
    optimism: float
    """By how much the winner's value on the earlier part is too high for having been chosen, in reward units."""
    reward_range: tuple[float, float]
    """As given, or as the log says, or has them."""
    candidates: list[Compared]
    logged: dict[str, Any]
    """What the log earned on the rows that the winner was valued on."""
    policies: list[Valued]
    """The winner first."""
