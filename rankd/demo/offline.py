"""Off-policy evaluation at work: what would the model as it stood halfway have earned afterwards, had it been frozen?

The log alone must answer: contexts, logged probabilities, chosen actions and their rewards. The demo can check the answer,
because it knows the labels, which no log does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.sampler import Purpose, seed
from rankd.v1 import log_pb2 as pb
from server.fold.decide import Question
from server.fold.fold import AppFold
from simulator import (
    Interval,
    Ips,
    NotIdentifiable,
    empirical_likelihood_interval,
    weight_range,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies import Model
    from server.fold.records import LogRecord
    from server.fold.settings import FoldSettings
    from server.fold.verify import LogSource


@dataclass(frozen=True, slots=True)
class Valuation:
    """A frozen model's value, as the log tells it and as it was."""

    rows: int
    ips: float
    interval: Interval | None
    reason: str  # why there is no interval
    ess: float  # rows that the estimate is worth
    truth: float


@dataclass(frozen=True, slots=True)
class Halfway:
    """The model as it stood when half of the decisions were made."""

    model: Model
    settings: FoldSettings
    sequence: int  # the record of the last of these decisions


def halfway(source: LogSource, app: str) -> Halfway:
    """Folds the log through half of its decisions, and freezes the model through its own saved state."""
    decisions = [r.sequence for r in source.records(0) if _is_decision(r, app)]
    last = decisions[len(decisions) // 2 - 1]
    fold = AppFold(app, source.read, source.artefact)
    for record in source.records(0):
        fold.step(record)
        if record.sequence == last:
            break
    assert fold.model is not None  # it has made decisions
    assert fold.settings is not None
    spec = fold.settings.spec()
    return Halfway(spec.load(fold.model.state()), fold.settings, last)


def value_of(frozen: Halfway, source: LogSource, app: str, labels: Mapping[str, str]) -> Valuation:
    """Values the model on the decisions after it.

    Args:
        labels: event_id -> the action that would have earned 1. Only the truth is made of them.
    """
    salt = bytes.fromhex(frozen.settings.salt)
    decisions: dict[str, pb.Decision] = {}
    rewards: dict[str, float] = {}
    for record in source.records(frozen.sequence):
        if _is_decision(record, app):
            decisions[record.event_id] = record.decision()
        elif record.kind == pb.KIND_REWARD and record.app == app:
            rewards.setdefault(record.event_id, pb.Reward.FromString(record.payload).value)
    target, logged, weights, truth = [], [], [], []
    for event, decision in decisions.items():
        question = Question.of(decision)
        policy_seed = seed(salt, Purpose.POLICY, 0, event)
        pi = np.zeros(question.size)
        pi[question.eligible] = frozen.model.pmf(
            question.context, question.actions, policy_seed
        ).pmf
        mu, chosen = np.array(decision.pmf), decision.ranking[0]
        target.append(pi)
        logged.append(mu)
        weights.append(pi[chosen] / mu[chosen])
        truth.append(pi[list(decision.action_ids).index(labels[event])])
    ips = Ips.of(weights, [rewards[event] for event in decisions])
    interval, reason = None, ""
    try:
        interval = empirical_likelihood_interval(
            ips,
            *weight_range(np.array(target), np.array(logged)),
            (frozen.settings.reward_min, frozen.settings.reward_max),
        )
    except NotIdentifiable as error:
        reason = str(error)
    return Valuation(ips.n, ips.value, interval, reason, ips.ess, float(np.mean(truth)))


def _is_decision(record: LogRecord, app: str) -> bool:
    return record.kind == pb.KIND_DECISION and record.app == app
