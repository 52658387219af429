"""What the command line of `rankd replay` says, and what of it does not go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rankd.commands import check_alpha, check_report, fail
from simulator.estimators import ESTIMATORS
from simulator.estimators.slates import SLATE_ESTIMATORS
from simulator.intervals import INTERVALS
from simulator.life import ONLINE
from simulator.slate_evaluation import INTERVALS_OF_SLATES
from simulator.targets import FROZEN, TRAINED_ON_LOG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rankd.commands.saved import Saved


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says, but for the log."""

    specs: Sequence[str]
    app: str | None
    columns: str | None
    estimators: Sequence[str]
    estimand: str | None  # None: trained_on_log of a policy's settings, frozen of a saved model
    as_served: bool
    seeds: int
    reward_range: tuple[float, float] | None
    min_exploration: (
        float | None
    )  # None: .05, or as the server had it where it is replayed as served
    standardise: bool | None  # None: true, or the same
    reward_model: str
    cross_fit: int | None  # folds; None: the reward model learns on the way
    interval: str | None  # None: what suits each estimator
    alpha: float
    force: bool
    report: Path | None
    plots: Path | None
    as_json: bool

    @property
    def changes(self) -> dict[str, Any]:
        """What was said of a model's settings."""
        said = {"min_exploration": self.min_exploration, "standardise": self.standardise}
        return {name: value for name, value in said.items() if value is not None}

    @property
    def of_slates(self) -> bool:
        """Whether a row is a slate, not a slot."""
        return any(name in SLATE_ESTIMATORS for name in self.estimators)


def check(asked: Asked, models: Mapping[str, Saved]) -> None:
    """Refuses what does not go together."""
    check_alpha(asked.alpha)
    check_report(asked.report, (".html", ".md"))
    known = [*ESTIMATORS, *SLATE_ESTIMATORS]
    unknown = [name for name in asked.estimators if name not in known]
    if unknown:
        fail(f"--estimator {unknown[0]}: there is none; known are {', '.join(known)}")
    if asked.interval is not None and asked.interval not in INTERVALS:
        fail(f"--interval {asked.interval}: there is none; known are {', '.join(INTERVALS)}")
    if asked.of_slates:
        _check_slates(asked)
    if not (asked.specs or asked.as_served):
        fail("--policy SPEC: say which policy, or --as-served for the one that ran")
    if asked.as_served and asked.estimand not in (None, TRAINED_ON_LOG):
        fail(
            f"--as-served --estimand {asked.estimand}: with recorded lags a policy is trained on the log; leave --estimand out"
        )
    if asked.estimand == ONLINE:
        _check_online(asked)
    for spec in models:
        if asked.as_served:
            fail(
                f"--as-served --policy {spec}: a saved model learns nothing, so lags are nothing to it; leave --as-served out"
            )
        if asked.estimand not in (None, FROZEN):
            fail(
                f"--estimand {asked.estimand} --policy {spec}: a saved model is taken as it is, frozen; leave --estimand out, or "
                "give its policy's settings"
            )


def _check_online(asked: Asked) -> None:
    given = {"--interval": asked.interval, "--cross-fit": asked.cross_fit, "--force": asked.force or None}  # fmt: skip
    for name, value in given.items():
        if value is not None:
            fail(
                f"--estimand online {name}: a life has its own estimate and interval (see --seeds), its model learns on the way, and one "
                f"that is too short has no number; leave {name} out"
            )


def _check_slates(asked: Asked) -> None:
    name = next(each for each in asked.estimators if each in SLATE_ESTIMATORS)
    if other := [each for each in asked.estimators if each not in SLATE_ESTIMATORS]:
        fail(
            f"--estimator {name} takes a slate for a row, {other[0]} a single slot; ask for one kind at a time"
        )
    if asked.as_served or asked.estimand == ONLINE:
        said = "--as-served" if asked.as_served else f"--estimand {asked.estimand}"
        fail(
            f"{said}: asks slot by slot, and --estimator {name} takes slates; leave one of them out"
        )
    if asked.cross_fit is not None:
        fail(f"--cross-fit: not with --estimator {name}; its model learns on the way")
    if asked.interval is not None and asked.interval not in INTERVALS_OF_SLATES:
        fail(f"--interval {asked.interval}: slates have {' and '.join(INTERVALS_OF_SLATES)} only")
