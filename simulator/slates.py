"""One pass over a log of slates: how each target would have filled them, and what they earned as they were filled.

A policy that is asked for one pmf is asked once, at the first slot, and its slots are drawn from what the slots above left of
that pmf, as rankd's server draws them (`simulator.plackett_luce`). So its probability of the logged slate is known, slot by slot.
It learns each slot's reward when that was final, as the learner does.

A slate counts once all its slots have their rewards. rankd's log has a reward for each slot: one that was sent without a slot's name
is the first slot's, and a slot for which none came has the default. Where a slot can stay without (`always_sent`, dsjson without a
cost), the slate is left out, as `decided` less `matured` tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from policies.features import with_slot
from simulator.estimators.slates import Slates
from simulator.estimators.slates.pseudo_inverse import pseudo_inverse_parts
from simulator.ips import NotIdentifiable
from simulator.logs.events import Decided, LogFormatError, Matured
from simulator.plackett_luce import conditionals, countable, marginals, pairs
from simulator.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from simulator.logs.events import Log
    from simulator.reward_models import RewardModel
    from simulator.targets import Target

# By how much a logged conditional may differ from what the pmf and the sampler say: logs may have rounded to float32.
_ROUNDING = 1e-6
# mu, pi, mu_marginal, pi_marginal, q_logged, q_pi, slot_weight: of a slot, in the order of Slates.
_COLUMNS = 7
_PADDING = (1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ReplayedSlates:
    """What a pass over a log gives for one target."""

    target: Target
    slates: Slates
    """One row for each matured slate, in the order in which they were decided."""


@dataclass(frozen=True, slots=True)
class SlatePass:
    """One pass over a log of slates."""

    replayed: list[ReplayedSlates]
    """One for each target, in the order asked for. Row i of all of them is the same slate."""
    decided: int
    """Slates in the log."""
    matured: int
    """Those all of whose slots have a final reward; only these count."""
    actions: NDArray[np.float64]
    """How many actions each row's first slot chose from, [n]."""


@dataclass(slots=True)
class _Open:
    """A slate whose slots are still coming, or whose rewards are."""

    number: int  # how many slates came before
    slots: list[Decided]
    pmfs: list[NDArray[np.float64]]  # [K] of each target
    q: list[NDArray[np.float64]] = field(default_factory=list)  # of each slot, over its actions
    rewards: dict[int, float] = field(default_factory=dict)
    closed: bool = False  # whether all its slots have come


def replay_slates(
    log: Log,
    targets: Sequence[Target],
    reward_model: RewardModel | None = None,
    progress: Callable[[int], None] | None = None,
    *,
    pseudo_inverse: bool = False,
) -> SlatePass:
    """Asks every target at every slate, and lets it learn every reward when that was final.

    Args:
        log: read once, from its beginning; slots of a decision follow each other.
        targets: those that learn are changed by it. Not such as are asked for each slot anew (VW's conditional bandits).
        reward_model: gives q for cascade-dr; it is taught what each slot and those below it earned together, in a context that names
            the slot. Without one, q is NaN.
        progress: called after each matured slate with their number.
        pseudo_inverse: whether the pseudo-inverse estimator will be asked: a matrix of L K rows is then inverted for each slate.

    Raises:
        LogFormatError: the log is not what its format says, was thinned at several rates (`pdrop`), or has slots of one
            decision apart from each other.
        ValueError: no decision has several slots, a target is asked for each slot anew, or a number cannot be an estimator's.
    """
    for target in targets:
        if getattr(target, "slotwise", False):
            raise ValueError(
                f"{target.name} is asked for each slot anew, and these estimators take slates that are drawn from one pmf; take a "
                "single-decision estimator (ips, dr), for which each slot is a row"
            )
    run = _Run(log, targets, reward_model, progress, pseudo_inverse=pseudo_inverse)
    for event in log:
        if isinstance(event, Decided):
            run.decided(event)
        else:
            run.matured(event)
    return run.result()


class _Run:
    def __init__(
        self,
        log: Log,
        targets: Sequence[Target],
        reward_model: RewardModel | None,
        progress: Callable[[int], None] | None,
        *,
        pseudo_inverse: bool,
    ) -> None:
        self._pseudo_inverse = pseudo_inverse
        self._log, self._targets, self._model, self._progress = log, targets, reward_model, progress
        self._waiting = Waiting[_Open](log.name)
        self._last: _Open | None = None
        self._count = 0
        # Of each matured slate: its number, K, rewards [L], and for each target columns [L][7].
        self._done: list[tuple[int, int, list[float], list[list[list[float]]]]] = []

    def decided(self, slot: Decided) -> None:
        self._waiting.check(slot)
        last = self._last
        if last is None or last.slots[0].key != slot.key:
            self._close()
            if slot.slot:
                raise LogFormatError(
                    f"{self._log.name}: decision {slot.key} begins with slot {slot.slot}; its slots must follow each other"
                )
            last = self._last = _Open(self._count, [], [each.pmf(slot) for each in self._targets])
            self._count += 1
        elif slot.slot != len(last.slots):
            raise LogFormatError(
                f"{self._log.name}: decision {slot.key} has slot {slot.slot} after {len(last.slots)} slots"
            )
        last.slots.append(slot)
        if self._model is not None:
            last.q.append(self._model.expected(_named(slot)))
        self._waiting.put(slot, last)

    def matured(self, event: Matured) -> None:
        slate = self._waiting.take(event)
        slate.rewards[event.decision.slot] = event.reward
        for target in self._targets:
            target.learn(event)
        if slate.closed:
            self._finish(slate)

    def _close(self) -> None:
        """Another decision has come: the last one has all its slots."""
        if self._last is not None:
            self._last.closed = True
            self._finish(self._last)
            self._last = None

    def _finish(self, slate: _Open) -> None:
        if len(slate.rewards) < len(slate.slots):
            return
        rewards = [slate.rewards[slot] for slot in range(len(slate.slots))]
        rows = _columns(slate, pseudo_inverse=self._pseudo_inverse)
        self._done.append((slate.number, len(slate.slots[0].actions), rewards, rows))
        if self._model is not None:
            for slot in slate.slots:
                self._model.learn(Matured(_named(slot), sum(rewards[slot.slot :])))
        if self._progress is not None:
            self._progress(len(self._done))

    def result(self) -> SlatePass:
        self._close()
        self._done.sort(key=lambda done: done[0])
        most = max((len(rewards) for _, _, rewards, _ in self._done), default=1)
        if self._done and most < 2:
            raise ValueError(
                "no decision of this log has several slots. Exports to dsjson and Parquet have a decision for each slot: give the "
                "data folder, the topic or the JSONL export"
            )
        n = len(self._done)
        reward = np.zeros((n, most))
        found = np.empty((len(self._targets), n, most, _COLUMNS))
        found[...] = _PADDING
        for i, (_, _, rewards, rows) in enumerate(self._done):
            reward[i, : len(rewards)] = rewards
            found[:, i, : len(rewards)] = rows
        replayed = [
            ReplayedSlates(
                target,
                Slates(reward, *(np.ascontiguousarray(of[..., c]) for c in range(_COLUMNS))),
            )
            for target, of in zip(self._targets, found, strict=True)
        ]
        actions = np.array([k for _, k, _, _ in self._done], np.float64)
        return SlatePass(replayed, self._count, n, actions)


def _named(slot: Decided) -> Decided:
    """What the model of the rewards sees: the slot is part of the context."""
    return replace(slot, context=with_slot(slot.context, str(slot.slot)))


def _columns(slate: _Open, *, pseudo_inverse: bool) -> list[list[list[float]]]:
    """For each target, for each slot: what Slates has of it but the reward."""
    first, count = slate.slots[0], len(slate.slots)
    place = {action: k for k, action in enumerate(first.actions.ids)}
    chosen = [place[slot.actions.ids[slot.chosen]] for slot in slate.slots]
    mu = np.array([slot.propensity for slot in slate.slots])
    one_pmf = _one_pmf(slate, chosen, mu)
    mu_marginal = _marginals(one_pmf, chosen)
    nan = np.full(count, np.nan)
    found = []
    for pmf in slate.pmfs:
        q, q_pi = nan, nan
        if slate.q:
            q = np.array([of[s.chosen] for of, s in zip(slate.q, slate.slots, strict=True)])
            q_pi = np.array(
                [
                    _mean(of, pmf[[place[a] for a in s.actions.ids]])
                    for of, s in zip(slate.q, slate.slots, strict=True)
                ]
            )
        pi_marginal = nan if np.isnan(mu_marginal).any() else _marginals(pmf, chosen)
        pi = conditionals(pmf, chosen)
        part = nan
        if pseudo_inverse and one_pmf is not None and not np.isnan(pi_marginal).any():
            part = _slot_weight(one_pmf, pmf, chosen)
        found.append(np.column_stack((mu, pi, mu_marginal, pi_marginal, q, q_pi, part)).tolist())
    return found


def _one_pmf(
    slate: _Open, chosen: list[int], mu: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The pmf from which the log drew all slots; None where it says of no such pmf, or of another conditional."""
    pmf = slate.slots[0].pmf
    if pmf is None or not (len(chosen) == 1 or slate.slots[0].one_pmf):
        return None
    alike = np.abs(conditionals(pmf, chosen) - mu) <= _ROUNDING  # NaN compares false
    return pmf if alike.all() else None


def _marginals(pmf: NDArray[np.float64] | None, chosen: list[int]) -> NDArray[np.float64]:
    """Of the logged actions, [L]; NaN where they cannot be had."""
    slots = len(chosen)
    if pmf is None or not countable(len(pmf), slots) or np.count_nonzero(pmf) < slots:
        return np.full(slots, np.nan)
    return marginals(pmf, slots)[np.arange(slots), chosen]


def _slot_weight(
    mu: NDArray[np.float64], pi: NDArray[np.float64], chosen: list[int]
) -> NDArray[np.float64]:
    """Each slot's part of the pseudo-inverse weight, [L]; NaN where mu never does what pi would."""
    slots = len(chosen)
    try:
        parts = pseudo_inverse_parts(marginals(pi, slots).ravel(), pairs(mu, slots))
    except NotIdentifiable:
        return np.full(slots, np.nan)
    return parts.reshape(slots, -1)[np.arange(slots), chosen]


def _mean(q: NDArray[np.float64], left: NDArray[np.float64]) -> float:
    mass = float(left.sum())
    return float(left @ q) / mass if mass > 0 else float("nan")
