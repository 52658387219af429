"""What a policy would earn live, learning from its own choices: the estimand "online".

A policy that learns every row of a log learns from more rows, and from other actions, than it would have met live. Here
it learns only rows that were accepted as its own (`simulator.dr_ns`): a history as long as the log can give, which is
shorter than the log. Its value is the mean reward of so many rounds, beginning untrained.

- Rejection replay (Li, Chu, Langford & Wang 2011) where mu is uniform over the same number of actions in every row: the mean
  of the accepted rewards.
- DR-ns (Dudik, Erhan, Langford & Li 2012) otherwise: every row, accepted or not, tells what the policy, as it is then, is worth,
  R_k = sum_b pi(b) q(b) + pi(a) / mu(a) (r - q(a)), and the value is sum c_k R_k / sum c_k. A round spans about 1 / c rows,
  so the weights c make up one round each.

Both take contexts and rewards not to depend on what was played before. Delays are the log's: a row is accepted when it was decided and
learned when its reward was final. As many of the rows between the two are not accepted, a delay is shorter in rounds than it
would be live, by the share of rows accepted.

A log in which decisions have several slots is refused: what slot 2 can choose from is what the log's slot 1 left, which a policy that
lived would have left otherwise.

Symbols as in `simulator.sample`; q is progressive, as in `simulator.replay`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from policies.sampler import Purpose, seed, uniform
from simulator.columns import Columns, Width
from simulator.decisions import Decisions
from simulator.dr_ns import Adaptive, Uniform
from simulator.ips import NotIdentifiable
from simulator.life import ONLINE, Refused, Row, concluded
from simulator.logs.events import Decided, Matured
from simulator.targets import Trained
from simulator.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from policies import ModelSpec, Scored
    from simulator.life import Method, Online
    from simulator.logs.events import Log
    from simulator.reward_models import RewardModel


_SLATES = (
    "decision {} has several slots, and what the second could choose from is what the log's policy left: a policy's life through "
    "slates cannot be had from their single slots. Take --estimand trained_on_log with an estimator of whole slates (sips)"
)


class Player(Protocol):
    """A policy that lives through a log."""

    @property
    def name(self) -> str:
        """As the caller spelled it, for reports."""

    @property
    def mixture(self) -> str:
        """What the bases are that it mixes, if it does: see `ModelSpec.mixture`."""

    def score(self, decision: Decided) -> Scored:
        """What it answers."""

    def bits(self, decision: Decided) -> float:
        """Uniform in [0, 1), for whether this row is accepted."""

    def learn(self, matured: Matured) -> None:
        """Takes in the final reward of a row that was accepted, whose pmf is the policy's own."""


class Live(Trained):
    """A policy that begins untrained and learns only rows that it would have made itself, as if it had made them.

    Args:
        name: for reports.
        spec: the policy, its floor and its range of rewards.
        salt: of the random bits that accept rows and that a policy may ask for, with purposes of their own. It must not be the
            salt that the log was drawn with: then the logged action and its acceptance would hang on the same bits.
    """

    estimand = ONLINE

    def __init__(self, name: str, spec: ModelSpec, salt: bytes = b"online") -> None:
        super().__init__(name, spec, salt)

    def score(self, decision: Decided) -> Scored:
        """What it answers."""
        bits = seed(self._salt, Purpose.POLICY, decision.slot, decision.key)
        return self._model.pmf(decision.context, decision.actions, bits)

    def bits(self, decision: Decided) -> float:
        """Uniform in [0, 1), for whether this row is accepted."""
        return uniform(self._salt, Purpose.DRAW, decision.slot, decision.key)


class _Played(NamedTuple):
    """What the policy would have logged of a decision; a policy may learn from the pmf that was played."""

    pmf: NDArray[np.float64]  # [K]
    bases: NDArray[np.float64] | None  # [B]


class _Asked(NamedTuple):
    """A decision that waits for its reward."""

    row: Row
    played: _Played | None  # None if it was not accepted
    weight: float  # pi(a) / mu(a)
    q: float  # of the logged action


def online(
    log: Log,
    target: Player,
    reward_model: RewardModel | None = None,
    *,
    method: Method | None = None,
    quantile: float = 0.01,
    alpha: float = 0.05,
    progress: Callable[[int], None] | None = None,
) -> Online:
    """One pass over a log, in which the policy lives through the rows that it would have made itself.

    Args:
        log: read once, from its beginning.
        target: untrained; is changed by it.
        reward_model: gives q, and is told every reward when that was final. Without one q is 0, which costs DR-ns
            precision only. Rejection does not need it.
        method: None takes rejection for as long as mu is uniform over one number of actions, and DR-ns from there on.
        quantile: of DR-ns, in [0, 1], see `simulator.dr_ns.Adaptive`.
        alpha: in (0, 1), the share of logs whose interval misses the value.
        progress: called after each matured row with their number.

    Raises:
        NotIdentifiable: decisions have several slots, fewer than 100 rounds were accepted, the log has neither pmfs nor uniform
            propensities, the policy does what the log's never did, too much of pi was cut off, or rejection was asked for and mu is not uniform.
        LogFormatError: the log is not what its format says, or was thinned at several rates (`pdrop`).
        ValueError: an argument is outside its range, or the reward model expects no rewards.
    """
    (found,) = lives(
        log,
        [target],
        reward_model,
        method=method,
        quantile=quantile,
        alpha=alpha,
        progress=progress,
    )
    if isinstance(found, Refused):
        raise NotIdentifiable(found.reason)
    return found


def lives(
    log: Log,
    targets: Sequence[Player],
    reward_model: RewardModel | None = None,
    *,
    method: Method | None = None,
    quantile: float = 0.01,
    alpha: float = 0.05,
    progress: Callable[[int], None] | None = None,
) -> list[Online | Refused]:
    """The same for several policies, or for one with several salts, in one pass, with one reward model.

    Returns:
        For each target, in their order, what it would earn, or why that cannot be known; see `online`.
    """
    runs = [_Run(target, method, Adaptive(quantile)) for target in targets]
    waiting = Waiting[list[_Asked | None]](log)
    decisions = Decisions()
    matured = 0
    for number, event in enumerate(log):
        if isinstance(event, Decided):
            waiting.check(event)
            decisions.number(event)
            if decisions.slots > 1:
                for run in runs:
                    run.refuse(_SLATES.format(event.decision_key))
            q = None if reward_model is None else reward_model.expected(event)
            waiting.put(event, [run.decide(event, number, q) for run in runs])
            continue
        for run, asked in zip(runs, waiting.take(event), strict=True):
            run.mature(asked, event)
        if reward_model is not None:
            reward_model.learn(event)
        matured += 1
        if progress is not None:
            progress(matured)
    return [run.concluded(alpha) for run in runs]


class _Run:
    """The policy, and which rows are its own."""

    def __init__(self, target: Player, method: Method | None, adaptive: Adaptive) -> None:
        self._target = target
        self._only = method == "rejection"  # then a log that is not uniform is refused
        self._adaptive = adaptive
        self._uniform: Uniform | None = None
        self._method: Method = method or "rejection"
        self._rows = Columns([Width.EXACT] * len(Row._fields))
        self._refused = ""  # why, once the log has turned out not to tell

    def concluded(self, alpha: float) -> Online | Refused:
        """What its life was worth, or why that cannot be known."""
        name, method = self._target.name, self._method
        if self._refused:
            return Refused(name, method, self._refused)
        try:
            return concluded(name, method, self._rows, alpha)
        except NotIdentifiable as error:
            return Refused(name, method, str(error))

    def refuse(self, reason: str) -> None:
        """The log has turned out not to tell."""
        self._refused = self._refused or reason

    def decide(
        self, decision: Decided, number: int, q: NDArray[np.float64] | None
    ) -> _Asked | None:
        """Asks the policy, and whether this row is one of its own. None once the log has turned out not to tell."""
        if self._refused:
            return None
        k, scored = decision.chosen, self._target.score(decision)
        pi = scored.pmf
        try:
            mu = self._mu(decision)
            c = self._c(decision, pi, mu)
        except NotIdentifiable as error:
            self.refuse(str(error))
            return None
        at = float(pi[k])
        weight = at / decision.propensity
        played = None
        if self._target.bits(decision) < c * weight:
            played = _Played(pi, None if scored.bases is None else scored.bases[:, k].copy())
        q_pi, q_logged = (0.0, 0.0) if q is None else (float(pi @ q), float(q[k]))
        cut = float(np.add.reduce(np.maximum(pi - mu / c, 0.0)))
        unsupported = 0.0 if np.minimum.reduce(mu) > 0 else float(pi[mu == 0].sum())
        row = Row(number, played is not None, 0.0, c, q_pi, cut, unsupported)
        return _Asked(row, played, weight, q_logged)

    def mature(self, asked: _Asked | None, event: Matured) -> None:
        """The row has its reward, which is learned if it is one of the policy's own."""
        if asked is None:
            return
        if asked.played is not None:
            pmf, bases = asked.played
            at = min(float(pmf[event.decision.chosen]), 1.0)
            own = self._target.mixture
            live = replace(event.decision, pmf=pmf, propensity=at, bases=bases, mixture=own)
            self._target.learn(Matured(live, event.reward))
        value = asked.row.value + asked.weight * (event.reward - asked.q)
        self._rows.append(asked.row._replace(reward=event.reward, value=value))

    def _mu(self, decision: Decided) -> NDArray[np.float64]:
        """mu over all actions."""
        count = len(decision.actions)
        if decision.pmf is not None:
            return decision.pmf
        if Uniform(count).holds(decision.propensity):
            return np.full(count, decision.propensity)
        raise NotIdentifiable(
            f"the log has no pmfs, and the propensity {decision.propensity:.6g} of decision {decision.key} is not that of a uniform "
            f"draw from {count} actions: what the policy would have met live cannot be known; log pmfs"
        )

    def _c(self, decision: Decided, pi: NDArray[np.float64], mu: NDArray[np.float64]) -> float:
        """c of this row. The row itself decides only whether rejection ends, which it does once."""
        adaptive = self._adaptive.next(pi, mu)
        if self._method == "dr_ns":
            return adaptive
        self._uniform = self._uniform or Uniform(len(mu))
        if self._uniform.has(mu):
            return self._uniform.c
        if self._only:
            raise NotIdentifiable(
                "rejection replay needs a log that is uniform over the same number of actions in every row; decision "
                f"{decision.key} is not, so take DR-ns"
            )
        self._method = "dr_ns"
        return adaptive
