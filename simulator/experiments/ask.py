"""Policies that are asked about one part of a log, as a trial."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from policies import ModelSpec, PolicyError
from simulator.estimators import ESTIMATORS, create
from simulator.evaluation import difference, evaluate, logged
from simulator.experiments.cut import FrozenAt, Part
from simulator.experiments.play import policy_facts
from simulator.replay import replay
from simulator.reward_models import Progressive
from simulator.target_specs import target_of
from simulator.targets import FROZEN, TRAINED_ON_LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator.experiments.fingerprint import Survey
    from simulator.experiments.grid import Candidate
    from simulator.experiments.source import Source
    from simulator.logs import Log
    from simulator.replay import Replayed
    from simulator.targets import Target

# Consecutive rows are added up into so many numbers: what chance does to a comparison is told from these, and a candidate's
# result stays small however long the log is.
_BLOCKS = 200


@dataclass(frozen=True, slots=True)
class Question:
    """What is the same for all candidates."""

    estimand: str  # "trained_on_log" or "frozen"
    estimator: str
    reward_range: tuple[float, float]
    range_met: bool  # whether that is but the range of the rewards that were met
    standardise: bool
    min_exploration: float
    reward_model: dict[str, Any]  # {"type": name, setting: value ...}
    alpha: float
    force: bool

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON has them."""
        model = policy_facts(self.reward_model) if self.needs_model else None
        return {**asdict(self), "reward_model": model}

    @property
    def needs_model(self) -> bool:
        """Whether the estimator asks a reward model."""
        return ESTIMATORS[self.estimator].needs_model

    @property
    def settings(self) -> dict[str, Any]:
        """Those of a ModelSpec that all have."""
        names = ("standardise", "min_exploration", "reward_range")
        return {name: getattr(self, name) for name in names}

    def spec(self, policy: dict[str, Any]) -> ModelSpec:
        """A policy under the settings that all have."""
        return ModelSpec(policy, **self.settings)


@dataclass(frozen=True, slots=True)
class Ask:
    """What candidates are worth on the decisions from number `begin` until before number `end`.

    `trained_on_log`: they learn all the while, from the log's first row on. `frozen`: they learn what was known when decision
    `begin` was made, and nothing after it. Decisions whose reward was not known when decision `end` was made do not count.

    Raises, when run:
        PolicyError: a policy cannot be; the message names it.
        LogFormatError: the log is not what its format says.
    """

    source: Source = field(compare=False)
    log: Survey
    question: Question
    candidates: tuple[Candidate, ...]
    begin: int
    end: int | None  # None: all

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "log": self.log.facts,
            "question": self.question.facts,
            "policies": [policy_facts(each.policy) for each in self.candidates],
            "names": [each.name for each in self.candidates],
            "begin": self.begin,
            "end": self.end,
        }

    def run(self, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
        """{"rows", "before": rewards of decisions before `begin`, "logged": Estimate, "policies": [{"estimate", "vs_logged",
        "blocks"}], "first_minus": for each but the first, by how much the first exceeds it, None if one of them was refused}."""
        asked = self.question
        with self.source.open() as log:
            part = Part(log, self.begin, self.end)
            targets = [self._target(each, log, part) for each in self.candidates]
            model = None
            if asked.needs_model:
                model = Progressive(asked.spec(asked.reward_model).build())
            end = self.log.decided if self.end is None else self.end
            total = max(1.0, self.log.matured * end / self.log.decided)
            tell = None if progress is None else lambda n: progress(min(1.0, n / total))
            found = replay(part, targets, model, tell)
        return self._told(found.replayed, part.before)

    def _target(self, candidate: Candidate, log: Log, part: Part) -> Target:
        asked = self.question
        frozen = asked.estimand == FROZEN  # later: it learns first, by rankd's own features
        try:
            target = target_of(
                candidate.name,
                candidate.policy,
                log,
                TRAINED_ON_LOG,
                asked.settings,
                vw_parser=not frozen,
            )
        except PolicyError as error:
            raise PolicyError(f"--policy {candidate.name}: {error}") from error
        return FrozenAt(target, part) if frozen else target

    def _told(self, replayed: Sequence[Replayed], before: int) -> dict[str, Any]:
        scored = slice(before, None)
        samples = [each.sample.rows(scored) for each in replayed]
        asked = self.question
        told = []
        for each, sample in zip(replayed, samples, strict=True):
            result = evaluate(
                sample,
                each.actions[scored],
                asked.estimand,
                [asked.estimator],
                asked.reward_range,
                alpha=asked.alpha,
                force=asked.force,
                range_met=asked.range_met,
            )
            estimate = result.estimators[asked.estimator]
            blocks = None
            if estimate.value is not None:
                blocks = _blocks(create(asked.estimator).influence(sample))
            told.append(
                {
                    "estimate": asdict(estimate),
                    "vs_logged": asdict(result.vs_logged),
                    "blocks": blocks,
                }
            )
        return {
            "rows": len(samples[0]),
            "before": before,
            "logged": asdict(logged(samples[0], asked.alpha)),
            "policies": told,
            "first_minus": [
                asdict(difference(samples[0], sample, asked.estimator, asked.alpha))
                if told[0]["blocks"] and each["blocks"]
                else None
                for each, sample in zip(told[1:], samples[1:], strict=True)
            ],
        }


def _blocks(influence: np.ndarray[Any, Any]) -> list[float]:
    """Sums over consecutive rows of what they differ from the value by, over n: [B], they sum to 0."""
    deviations = (influence - influence.mean()) / len(influence)
    return [
        float(block.sum()) for block in np.array_split(deviations, min(_BLOCKS, len(deviations)))
    ]
