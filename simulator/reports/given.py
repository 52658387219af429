"""What a report is made from: a replay's samples and what was concluded from them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from simulator.targets import FROZEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from simulator.evaluation import Estimate, Evaluation
    from simulator.life import Online, Refused
    from simulator.sample import Sample


@dataclass(frozen=True, slots=True)
class PolicyInput:
    """One policy of a replay."""

    name: str
    """As the caller spelled it. Any text: it is escaped where that matters."""
    estimand: str
    """"frozen", "trained_on_log" or "as_served"."""
    sample: Sample
    """Rows in log order."""
    evaluation: Evaluation
    """Of that sample; its first estimator is the one that headlines and differences are of."""
    vs_first: Estimate | None = None
    """By how much it differs from the first policy; None for the first."""

    @property
    def frozen(self) -> bool:
        """Whether it stayed as it was."""
        return self.estimand == FROZEN

    @property
    def main(self) -> str:
        """The estimator of headline and differences."""
        return next(iter(self.evaluation.estimators))

    @property
    def headline(self) -> Estimate:
        """The first estimator's answer."""
        return self.evaluation.estimators[self.main]

    @property
    def shown(self) -> bool:
        """Whether figures of its value may be drawn: overlap suffices, or numbers were forced."""
        return not self.evaluation.reason or any(
            each.value is not None for each in self.evaluation.estimators.values()
        )


@dataclass(frozen=True, slots=True)
class ReportInput:
    """A replay, for `html`, `markdown` and `png`.

    Raises:
        ValueError: there are no policies, one has no estimators, or rows differ in number.
    """

    log: str
    """The log's name, for the title."""
    logged: Estimate
    """The log's own mean reward."""
    policies: Sequence[PolicyInput]
    reward_range: tuple[float, float]
    """(lowest, highest) reward that a decision can have."""
    decided: int
    """Decisions in the log, those without a final reward too."""
    alpha: float = 0.05
    """Of all intervals."""

    def __post_init__(self) -> None:
        if not self.policies:
            raise ValueError("policies: must not be empty")
        for policy in self.policies:
            if not policy.evaluation.estimators:
                raise ValueError(f"{policy.name}: there are no estimates")
            if len(policy.sample) != self.rows:
                raise ValueError(
                    f"{policy.name}: {len(policy.sample)} rows, the first policy has {self.rows}"
                )

    @property
    def rows(self) -> int:
        """Decisions with a final reward."""
        return len(self.policies[0].sample)

    @property
    def level(self) -> str:
        """The intervals' level in words, "95 %"."""
        return f"{100 * (1 - self.alpha):.4g} %"

    @property
    def bounded(self) -> bool:
        """Whether the range is one that a confidence sequence can be had from."""
        return all(map(isfinite, self.reward_range))


@dataclass(frozen=True)
class LivesInput:
    """Policies that lived through one log (`simulator.online`), for the same."""

    log: str
    """The log's name, for the title."""
    logged: Estimate
    """The log's own mean reward."""
    policies: Sequence[Online | Refused]
    """One for each, in the order asked for; the mean of its lives."""
    decided: int
    """Decisions in the log, those without a final reward too."""
    rows: int
    """Those with one."""
    alpha: float = 0.05
    """Of all intervals."""

    @property
    def level(self) -> str:
        """The intervals' level in words, "95 %"."""
        return f"{100 * (1 - self.alpha):.4g} %"


@dataclass(frozen=True, slots=True, eq=False)
class LearnedInput:
    """One policy that played in a world, with S seeds."""

    name: str
    """As the caller spelled it."""
    round: NDArray[np.float64]
    """[n] rounds, from 1, ascending, at which the curves below are known; the last one is the last of all."""
    reward: NDArray[np.float64]
    """[S, n] rewards so far, summed."""
    regret: NDArray[np.float64]
    """[S, n] regret so far."""


@dataclass(frozen=True, slots=True)
class WorldInput:
    """Policies that played in one world (`simulator.simulation`), paired by seed, for the same.

    Raises:
        ValueError: there are no policies, or curves differ in shape.
    """

    environment: str
    """As it was spelled, for the title."""
    policies: Sequence[LearnedInput]
    alpha: float = 0.05
    """Of all intervals."""

    def __post_init__(self) -> None:
        if not self.policies:
            raise ValueError("policies: must not be empty")
        shape = self.seeds, len(self.policies[0].round)
        for each in self.policies:
            if not each.reward.shape == each.regret.shape == (shape[0], len(each.round)) == shape:
                raise ValueError(
                    f"{each.name}: curves {each.reward.shape} and {each.regret.shape}, expected {shape}"
                )

    @property
    def rounds(self) -> int:
        """Of each run."""
        return int(self.policies[0].round[-1])

    @property
    def seeds(self) -> int:
        """Runs of each policy."""
        return len(self.policies[0].regret)

    @property
    def level(self) -> str:
        """The intervals' level in words, "95 %"."""
        return f"{100 * (1 - self.alpha):.4g} %"
