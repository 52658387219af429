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
from simulator.columns import Columns, Width
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
# Of a slot, what targets share and what each has for itself: columns of Slates, with what slots have that a slate lacks.
_SHARED = {"mu": 1.0, "mu_marginal": 1.0, "q_logged": 0.0}
_OWN = {"pi": 1.0, "pi_marginal": 1.0, "q_pi": 0.0, "slot_weight": 0.0}


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
    met: tuple[float, float]
    """(lowest, highest) reward of a slot that counts, without what shorter slates are filled up with; 0 if there are none."""


@dataclass(slots=True)
class _Coming:
    """The slate whose slots are coming."""

    asked: _Asked
    slots: list[Decided]
    pmfs: list[NDArray[np.float64]]  # [K] of each target
    q: list[NDArray[np.float64]] = field(default_factory=list)  # of each slot, over its actions


@dataclass(slots=True)
class _Asked:
    """A slate that waits for its rewards."""

    number: int  # how many slates came before
    rows: NDArray[np.float64] | None = None  # [L, columns], once all its slots have come
    final: dict[int, Matured] = field(default_factory=dict)  # by slot


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
        self._waiting = Waiting[_Asked](log)
        self._coming: _Coming | None = None
        self._count = 0
        self._done = 0
        # Of each matured slate: number, slots, K. Of each of its slots: reward, and what targets share and have.
        self._slates = Columns([Width.EXACT] * 3)
        self._slots = Columns([Width.EXACT] * (1 + len(_SHARED) + len(_OWN) * len(targets)))

    def decided(self, slot: Decided) -> None:
        self._waiting.check(slot)
        coming = self._coming
        if coming is None or coming.slots[0].key != slot.key:
            self._close()
            if slot.slot:
                raise LogFormatError(
                    f"{self._log.name}: decision {slot.key} begins with slot {slot.slot}; its slots must follow each other"
                )
            pmfs = [each.pmf(slot) for each in self._targets]
            coming = self._coming = _Coming(_Asked(self._count), [], pmfs)
            self._count += 1
        elif slot.slot != len(coming.slots):
            raise LogFormatError(
                f"{self._log.name}: decision {slot.key} has slot {slot.slot} after {len(coming.slots)} slots"
            )
        coming.slots.append(slot)
        if self._model is not None:
            coming.q.append(self._model.expected(_named(slot)))
        self._waiting.put(slot, coming.asked)

    def matured(self, event: Matured) -> None:
        asked = self._waiting.take(event)
        asked.final[event.decision.slot] = event
        for target in self._targets:
            target.learn(event)
        self._finish(asked)

    def _close(self) -> None:
        """Another decision has come: the last one has all its slots, and what is kept of it from here on is numbers."""
        if self._coming is not None:
            asked = self._coming.asked
            asked.rows = _columns(self._coming, pseudo_inverse=self._pseudo_inverse)
            self._coming = None
            self._finish(asked)

    def _finish(self, asked: _Asked) -> None:
        """If all its slots have come, and their rewards."""
        if asked.rows is None or len(asked.final) < len(asked.rows):
            return
        matured = [asked.final[slot] for slot in range(len(asked.rows))]
        self._slates.append((asked.number, len(matured), len(matured[0].decision.actions)))
        for one, row in zip(matured, asked.rows, strict=True):
            self._slots.append((one.reward, *row))
        self._done += 1
        if self._model is not None:
            for slot, one in enumerate(matured):
                below = sum(each.reward for each in matured[slot:])
                self._model.learn(Matured(_named(one.decision), below))
        if self._progress is not None:
            self._progress(self._done)

    def result(self) -> SlatePass:
        self._close()
        number, slots, actions = self._slates.arrays()
        most = int(slots.max(initial=1))
        if self._done and most < 2:
            raise ValueError(
                "no decision of this log has several slots. Exports to dsjson and Parquet have a decision for each slot: give the "
                "data folder, the topic or the JSONL export"
            )
        order = np.argsort(number)
        grid = _Grid(order, slots.astype(np.intp), most)
        reward, *rest = self._slots.arrays()
        rewards, columns = grid.of(reward, 0.0), iter(rest)
        shared = {name: grid.of(next(columns), padding) for name, padding in _SHARED.items()}
        replayed = []
        for target in self._targets:
            own = {name: grid.of(next(columns), padding) for name, padding in _OWN.items()}
            replayed.append(ReplayedSlates(target, Slates(rewards, **shared, **own)))
        met = (float(reward.min()), float(reward.max())) if self._done else (0.0, 0.0)
        return SlatePass(replayed, self._count, self._done, actions[order], met)


class _Grid:
    """Puts slots, one slate after the other as they matured, into rows of L in the order of decisions."""

    def __init__(self, order: NDArray[np.intp], slots: NDArray[np.intp], most: int) -> None:
        self._shape = len(slots), most
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        first = np.repeat(np.cumsum(slots) - slots, slots)
        # Where in the grid each slot stands; None if they stand so already.
        place = np.repeat(rank, slots) * most + np.arange(len(first)) - first
        self._place = None if np.array_equal(place, np.arange(len(slots) * most)) else place

    def of(self, column: NDArray[np.float64], padding: float) -> NDArray[np.float64]:
        """[n, L]; `padding` where a slate has fewer slots."""
        if self._place is None:
            return column.reshape(self._shape)
        found = np.full(self._shape, padding)
        found.ravel()[self._place] = column
        return found


def _named(slot: Decided) -> Decided:
    """What the model of the rewards sees: the slot is part of the context."""
    return replace(slot, context=with_slot(slot.context, str(slot.slot)))


def _columns(slate: _Coming, *, pseudo_inverse: bool) -> NDArray[np.float64]:
    """For each slot, [L, columns]: what targets share, and what each has, as `_SHARED` and `_OWN` name it."""
    first, count = slate.slots[0], len(slate.slots)
    place = {action: k for k, action in enumerate(first.actions.ids)}
    chosen = [place[slot.actions.ids[slot.chosen]] for slot in slate.slots]
    mu = np.array([slot.propensity for slot in slate.slots])
    one_pmf = _one_pmf(slate, chosen, mu)
    mu_marginal = _marginals(one_pmf, chosen)
    q = nan = np.full(count, np.nan)
    if slate.q:
        q = np.array([of[s.chosen] for of, s in zip(slate.q, slate.slots, strict=True)])
    found = [mu, mu_marginal, q]
    for pmf in slate.pmfs:
        q_pi = nan
        if slate.q:
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
        found += [pi, pi_marginal, q_pi, part]
    return np.column_stack(found)


def _one_pmf(
    slate: _Coming, chosen: list[int], mu: NDArray[np.float64]
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
