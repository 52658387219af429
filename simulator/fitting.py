"""Which reward model a replay takes: progressive, cross-fitted, or fitted for MRDR, and where each would be dishonest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from policies import ModelSpec
from simulator.estimators import ESTIMATORS, MRDR
from simulator.replay import replay
from simulator.reward_models import CrossFitted, MRDRWeight, Progressive, WeightedRidge
from simulator.targets import FROZEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.logs import Log
    from simulator.replay import Pass
    from simulator.reward_models import RewardModel
    from simulator.sample import Sample
    from simulator.targets import Target

# Where nobody says how many: a model then sees 4/5 of the log for 4 lessons a row.
_FOLDS = 5
MOST_FOLDS = (
    50  # beyond, a model knows 2% of the log more at most, and a pass takes longer and longer
)


class DishonestError(ValueError):
    """What was asked for would not be an honest estimate. Options are named as `rankd replay` has them."""


class Fitting(NamedTuple):
    """What is asked for of reward models."""

    policy: dict[str, Any]  # its configuration
    settings: dict[str, Any]  # of its ModelSpec: standardise, reward_range ...
    folds: int | None  # None: progressive

    def of(self, log: Log, estimators: Sequence[str]) -> RewardModel | None:
        """The model that all targets share; None where no estimator asks for one.

        Raises:
            PolicyError: the policy's settings are wrong.
            LogFormatError, ValueError: the log cannot be cross-fitted.
        """
        if not any(ESTIMATORS[name].needs_model and name != MRDR.name for name in estimators):
            return None
        if self.folds is None:
            return self.progressive()
        return CrossFitted.of(log, self.progressive, self.folds)

    def of_mrdr(
        self, log: Log, targets: Sequence[Target], estimators: Sequence[str]
    ) -> list[Sample]:
        """For each target its sample, with q from a model that was fitted for it: two passes over the log. Empty if mrdr is not asked for.

        Raises:
            PolicyError: the policy does not learn by weighted least squares.
            LogFormatError, ValueError: the log cannot be cross-fitted.
        """
        if MRDR.name not in estimators:
            return []
        return [self._mrdr(log, target).replayed[0].sample for target in targets]

    def _mrdr(self, log: Log, target: Target) -> Pass:
        weight = MRDRWeight(target)

        def build() -> RewardModel:
            standardise = bool(self.settings["standardise"])
            return WeightedRidge.of(self.policy, weight, standardise=standardise)

        return replay(log, [target], CrossFitted.of(log, build, self.folds or _FOLDS))

    def progressive(self) -> RewardModel:
        """One that learns on the way.

        Raises:
            PolicyError: the policy's settings are wrong.
        """
        return Progressive(ModelSpec(self.policy, **self.settings).build())


def check(
    folds: int | None, estimators: Sequence[str], targets: Sequence[Target], interval: str | None
) -> None:
    """Refuses a model that would have seen what it is asked about.

    Raises:
        DishonestError: says what to do instead.
    """
    if folds is not None and not 2 <= folds <= MOST_FOLDS:
        raise DishonestError(
            f"--cross-fit {folds}: it takes two folds at least, and {MOST_FOLDS} at most, as each is a model that learns nearly all rows"
        )
    learns = any(target.estimand != FROZEN for target in targets)
    if folds is not None and learns:
        raise DishonestError(
            "--cross-fit: a policy that learns from the log is asked at each row as it was then, and a cross-fitted model knows the "
            "rows after it; leave --cross-fit out (the model is then progressive), or take --estimand frozen"
        )
    if MRDR.name in estimators and learns:
        raise DishonestError(
            "--estimator mrdr: its reward model is fitted to one policy that stays as it is; take --estimand frozen, or dr"
        )
    if interval == "martingale" and folds is not None:
        raise DishonestError(
            "--interval martingale: needs a reward model that knows earlier rows only; leave --cross-fit out"
        )
