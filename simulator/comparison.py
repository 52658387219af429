"""Several policies on one log: what `rankd replay` does, from Python."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from simulator.conclusion import Result, conclude, summary
from simulator.estimators import ESTIMATORS
from simulator.estimators.slates import SLATE_ESTIMATORS
from simulator.evaluation import logged
from simulator.fitting import Fitting, check
from simulator.life import ONLINE
from simulator.logs import open_log
from simulator.met import check_range, rewards_met
from simulator.replay import Pass, replay
from simulator.slate_conclusion import (
    as_pass,
    check_slates,
    conclude_slates,
    range_of_slates,
    replayed_slates,
)
from simulator.specs import policy_of
from simulator.target_specs import target_of
from simulator.targets import AS_SERVED, TRAINED_ON_LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from simulator.evaluation import Estimate
    from simulator.logs import Log
    from simulator.reports import ReportInput
    from simulator.targets import Target


_NOTHING = "there is no decision with a final reward in this log"
_ELSEWHERE = {
    ONLINE: "what policies would earn live is asked of simulator.live",
    AS_SERVED: "for a server's log in the order of its models, give a simulator.logs.served.ServedLog, and as policies "
    "simulator.served.AsServed() for what ran and simulator.trained_as_served.TrainedAsServed for others; "
    "`rankd replay --as-served` makes every decision again, too",
}


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What a log says of some policies."""

    log: str
    """Its name."""
    found: Pass
    """The pass that it was found by, with each policy's sample."""
    results: Sequence[Result]
    """One for each policy, in the order asked for."""
    reward_range: tuple[float, float]
    """(lowest, highest) reward that a decision can have."""
    alpha: float
    """Of all intervals."""

    @property
    def logged(self) -> Estimate:
        """The log's own mean reward."""
        return logged(self.found.replayed[0].sample, self.alpha)

    def to_dict(self, seconds: float | None = None) -> dict[str, Any]:
        """The object that `rankd replay --json` prints, with the seconds that it took where they are given."""
        return summary(self.found, self.results, seconds, self.alpha)

    def html(self) -> str:
        """A page that needs nothing else."""
        from simulator.reports import html

        return html(self.report_input())

    def markdown(self) -> str:
        """A table for a pull request."""
        from simulator.reports import markdown

        return markdown(self.report_input())

    def plots(self, folder: Path) -> None:
        """The page's figures as PNG files in a folder.

        Raises:
            ModuleNotFoundError: matplotlib is not installed; the message says how.
        """
        from simulator.reports import png

        png(self.report_input(), folder)

    def report_input(self) -> ReportInput:
        """What reports are made from."""
        from simulator.reports import PolicyInput, ReportInput

        policies = [
            PolicyInput(one.target.name, one.target.estimand, one.sample, evaluation, versus)
            for one, (evaluation, versus) in zip(self.found.replayed, self.results, strict=True)
        ]
        return ReportInput(
            log=self.log,
            logged=self.logged,
            reward_range=self.reward_range,
            decided=self.found.decided,
            alpha=self.alpha,
            policies=policies,
        )


def compare(
    log: Log | str | PathLike[str],
    policies: Sequence[str | Target],
    *,
    estimators: Sequence[str] = ("ips", "snips", "dr"),
    estimand: str = TRAINED_ON_LOG,
    reward_range: tuple[float, float] | None = None,
    min_exploration: float = 0.05,
    standardise: bool = True,
    reward_model: str = "linucb",
    cross_fit: int | None = None,
    interval: str | None = None,
    alpha: float = 0.05,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """What other policies would have earned, and by how much that differs from what was earned.

    >>> import numpy as np
    >>> from simulator import ArraysLog
    >>> rng = np.random.default_rng(1)
    >>> x, action = rng.standard_normal((2_000, 2)), rng.integers(2, size=2_000)
    >>> reward = (action == (x[:, 0] > 0)).astype(float)
    >>> log = ArraysLog({"context": x, "action": action, "reward": reward, "pi_b": np.full((2_000, 2), 0.5)})
    >>> found = compare(log, ["linucb", "uniform"], estimators=["ips", "dr"])
    >>> linucb, uniform = (result.evaluation for result in found.results)
    >>> linucb.estimators["dr"].value > 0.9, linucb.vs_logged.low > 0.3, uniform.vs_logged.high < 0.1
    (True, True, True)
    >>> found.to_dict()["policies"][0]["estimand"]
    'trained_on_log'

    Args:
        log: a file, or what `simulator.open_log` gives; read once, and once more for each of: rewards whose range nobody says, cross-fitting.
        policies: as the command line spells them, or targets of your own; the first is the one that others are compared with.
        estimators: by name; the first is the one that differences are of. See `simulator.estimators`; those of `simulator.estimators.slates`
            take a slate for a row.
        estimand: of policies that are spelled: "trained_on_log", which is not what they would earn live, or "frozen".
        reward_range: (lowest, highest) reward that can be; as the log says, or else as it has them, which policies that learn then know
            beforehand, and which intervals that rest on it do not hold for.
        min_exploration: share of decisions that is spread over all actions.
        standardise: whether numbers are standardised on the way, as in the service.
        reward_model: the policy whose expectations dm, dr and their kin use.
        cross_fit: folds; None lets the reward model learn on the way.
        interval: by name; None takes what suits each estimator. See `simulator.intervals`.
        alpha: in (0, 1), the share of logs whose interval may miss the value.
        force: whether to give numbers that should not be believed, too, marked.
        progress: called with the number of rows so far.

    Raises:
        PolicyError: a policy's settings are wrong.
        LogFormatError: the log is not what its format says.
        ValueError: there is no such estimator, interval or estimand; what was asked for would not be honest; or a reward is outside the range; or no decision has
            a final reward.
    """
    log = open_log(log) if isinstance(log, (str, PathLike)) else log
    if isinstance(policies, str) or not policies or not estimators:
        raise ValueError("policies, estimators: give a list of at least one")
    known_names = [*ESTIMATORS, *SLATE_ESTIMATORS]
    unknown = [name for name in estimators if name not in known_names]
    if unknown:
        raise ValueError(
            f"estimator {unknown[0]!r}: there is none; known are {', '.join(known_names)}"
        )
    of_slates = any(name in SLATE_ESTIMATORS for name in estimators)
    if of_slates:
        check_slates(estimators, cross_fit, interval)
    if estimand in _ELSEWHERE:
        raise ValueError(f"estimand {estimand!r}: {_ELSEWHERE[estimand]}")
    known = reward_range or log.reward_range
    limits = known or rewards_met(log)
    settings = {
        "standardise": standardise,
        "min_exploration": min_exploration,
        "reward_range": limits,
    }
    targets = [
        target_of(each, policy_of(each, "policy"), log, estimand, settings, vw_parser=not of_slates)
        if isinstance(each, str)
        else each
        for each in policies
    ]
    fitting = Fitting(policy_of(reward_model, "reward_model"), settings, cross_fit)
    if of_slates:
        slates = replayed_slates(log, targets, estimators, fitting, progress)
        if not slates.matured:
            raise ValueError(_NOTHING)
        if reward_range is not None:  # of a slot, as policies learn it
            check_range(slates.met, reward_range)
        answers = conclude_slates(slates, estimators, alpha=alpha, force=force, interval=interval)
        limits = range_of_slates(limits, slates)
        return Comparison(log.name, as_pass(slates), answers, limits, alpha)
    check(cross_fit, estimators, targets, interval)
    found = replay(log, targets, fitting.of(log, estimators), progress)
    if not found.matured:
        raise ValueError(_NOTHING)
    check_range(found.replayed[0].sample.reward, limits)
    mrdr = fitting.of_mrdr(log, targets, estimators)
    results = conclude(
        found,
        mrdr,
        estimators,
        limits,
        alpha=alpha,
        force=force,
        interval=interval,
        range_met=known is None,
    )
    return Comparison(log.name, found, results, limits, alpha)
