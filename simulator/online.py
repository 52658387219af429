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

Symbols as in `simulator.sample`; q is progressive, as in `simulator.replay`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from policies.sampler import Purpose, seed, uniform
from simulator.dr_ns import Adaptive, Uniform
from simulator.intervals import INTERVALS, Evidence
from simulator.ips import NotIdentifiable
from simulator.logs.events import Decided, Matured
from simulator.overlap import MOST_UNSUPPORTED
from simulator.targets import Trained
from simulator.waiting import Waiting, expected

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from policies import ModelSpec, Scored
    from policies.model import Model
    from simulator.intervals import ConfidenceInterval
    from simulator.logs.events import Log

ONLINE = "online"
LEAST_ROUNDS = 100  # accepted; fewer are no learning curve
MOST_CUT = 0.05  # share of pi's actions that acceptance could not give the learner
Method = Literal["rejection", "dr_ns"]


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


@dataclass(frozen=True, slots=True, eq=False)
class Online:
    """What a policy would earn live."""

    name: str
    """The policy's, as the caller spelled it."""
    method: Method
    value: float
    """Mean reward of a round, over `rounds` rounds from untrained on: another number of rounds has another value."""
    interval: ConfidenceInterval
    """Of the mean value along the path that was learned, not of how much paths differ: on 40 logs of a linear bandit, 170 to 240
    rounds each, it covered the learner's mean over many lives in 85% instead of 95%."""
    rounds: int
    """Rows that were accepted, and whose reward was final."""
    rows: int
    """Rows whose reward was final."""
    curve: NDArray[np.float64]
    """Cumulated reward after each accepted round, [rounds], in the order of decisions."""
    cut: float
    """Share of pi's actions, on average over rows, that acceptance could not give, as c pi exceeded mu; in [0, 1]. Exactly
    0 for rejection. The learner met so much less of what it wanted to do."""

    estimand: ClassVar[str] = ONLINE

    @property
    def acceptance(self) -> float:
        """Accepted rounds per row, in [0, 1]."""
        return self.rounds / self.rows


class _Row(NamedTuple):
    """What is kept of a row."""

    number: int  # how many events came before
    accepted: bool
    reward: float
    c: float
    value: float  # R_k, in reward units
    cut: float
    unsupported: float  # pi's share on actions with mu = 0


class _Asked(NamedTuple):
    """A decision that waits for its reward."""

    row: _Row
    played: Decided | None  # as the policy would have logged it; None if it was not accepted
    weight: float  # pi(a) / mu(a)
    q: float  # of the logged action


def online(
    log: Log,
    target: Live,
    reward_model: Model | None = None,
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
        reward_model: gives q by its policy's `expected`; learns every matured row on the way. Without one q is 0, which costs DR-ns
            precision only. Rejection does not need it.
        method: None takes rejection for as long as mu is uniform over one number of actions, and DR-ns from there on.
        quantile: of DR-ns, in [0, 1], see `simulator.dr_ns.Adaptive`.
        alpha: in (0, 1), the share of logs whose interval misses the value.
        progress: called after each matured row with their number.

    Raises:
        NotIdentifiable: fewer than 100 rounds were accepted, the log has neither pmfs nor uniform propensities, the policy does what the
            log's never did, too much of pi was cut off, or rejection was asked for and mu is not uniform.
        LogFormatError: the log is not what its format says, or was thinned at several rates (`pdrop`).
        ValueError: an argument is outside its range, or the reward model expects no rewards.
    """
    run = _Run(target, reward_model, method, Adaptive(quantile))
    waiting = Waiting[_Asked](log.name)
    rows: list[_Row] = []
    for number, event in enumerate(log):
        if isinstance(event, Decided):
            waiting.check(event)
            waiting.put(event, run.decide(event, number))
            continue
        asked = waiting.take(event)
        rows.append(run.mature(asked, event))
        if progress is not None:
            progress(len(rows))
    return _result(target.name, run.method, rows, alpha)


class _Run:
    """The policy, and which rows are its own."""

    def __init__(
        self,
        target: Live,
        reward_model: Model | None,
        method: Method | None,
        adaptive: Adaptive,
    ) -> None:
        self._target = target
        self._reward_model = reward_model
        self._only = method == "rejection"  # then a log that is not uniform is refused
        self._adaptive = adaptive
        self._uniform: Uniform | None = None
        self.method: Method = method or "rejection"

    def decide(self, decision: Decided, number: int) -> _Asked:
        """Asks the policy, and whether this row is one of its own."""
        k, scored = decision.chosen, self._target.score(decision)
        pi, mu = scored.pmf, self._mu(decision)
        c = self._c(decision, pi, mu)
        at = float(pi[k])
        weight = at / decision.propensity
        played = None
        if self._target.bits(decision) < c * weight:
            # A policy may learn from the pmf that was played, and live that would have been its own.
            bases = None if scored.bases is None else scored.bases[:, k]
            played = replace(decision, pmf=pi, propensity=min(at, 1.0), bases=bases)
        q = self._expected(decision)
        cut = float(np.maximum(pi - mu / c, 0.0).sum())
        unsupported = float(pi[mu == 0].sum())
        row = _Row(number, played is not None, 0.0, c, float(pi @ q), cut, unsupported)
        return _Asked(row, played, weight, float(q[k]))

    def mature(self, asked: _Asked, event: Matured) -> _Row:
        """The row with its reward, which is learned if it is one of the policy's own."""
        if asked.played is not None:
            self._target.learn(Matured(asked.played, event.reward))
        if self._reward_model is not None:
            self._reward_model.learn([event.decision.interaction(event.reward)])
        row = asked.row
        value = row.value + asked.weight * (event.reward - asked.q)
        return row._replace(reward=event.reward, value=value)

    def _mu(self, decision: Decided) -> NDArray[np.float64]:
        """mu over all actions."""
        count = len(decision.actions)
        if decision.pmf is not None:
            return decision.pmf
        mu = np.full(count, decision.propensity)
        if Uniform(count).has(mu):
            return mu
        raise NotIdentifiable(
            f"the log has no pmfs, and the propensity {decision.propensity:.6g} of decision {decision.key} is not that of a uniform "
            f"draw from {count} actions: what the policy would have met live cannot be known; log pmfs"
        )

    def _c(self, decision: Decided, pi: NDArray[np.float64], mu: NDArray[np.float64]) -> float:
        """c of this row. The row itself decides only whether rejection ends, which it does once."""
        adaptive = self._adaptive.next(pi, mu)
        if self.method == "dr_ns":
            return adaptive
        self._uniform = self._uniform or Uniform(len(mu))
        if self._uniform.has(mu):
            return self._uniform.c
        if self._only:
            raise NotIdentifiable(
                "rejection replay needs a log that is uniform over the same number of actions in every row; decision "
                f"{decision.key} is not, so take DR-ns"
            )
        self.method = "dr_ns"
        return adaptive

    def _expected(self, decision: Decided) -> NDArray[np.float64]:
        if self._reward_model is None:
            return np.zeros(len(decision.actions))
        return expected(self._reward_model, decision)


def _result(name: str, method: Method, rows: list[_Row], alpha: float) -> Online:
    n = len(rows)
    columns = np.array(sorted(rows), np.float64).reshape(n, len(_Row._fields))
    _, accepted, reward, c, value, cut, unsupported = columns.T
    own = reward[accepted == 1.0]
    if n and unsupported.mean() > MOST_UNSUPPORTED:
        raise NotIdentifiable(
            f"{unsupported.mean():.2%} of what the policy does is never done by the log's policy (more than "
            f"{MOST_UNSUPPORTED:.1%}), so it could not learn from it: log with a uniform share over all actions"
        )
    if len(own) < LEAST_ROUNDS:
        raise NotIdentifiable(
            f"{len(own)} of {n} rows were accepted as the policy's own, below {LEAST_ROUNDS}: "
            "log more rows, or with more exploration"
        )
    if cut.mean() > MOST_CUT:
        raise NotIdentifiable(
            f"{cut.mean():.2%} of what the policy does was done too seldom by the log's policy to be learned as often as live (more "
            f"than {MOST_CUT:.0%}): take a lower quantile, which accepts fewer rows, or log with more exploration"
        )
    if method == "rejection":
        interval = INTERVALS["normal"](Evidence(np.ascontiguousarray(own)), alpha)
        interval = replace(interval, method="Student t of the accepted rewards")
        estimate = float(own.mean())
    else:
        # c was fixed before its row, so c (R - its mean) is a martingale's difference, and the ratio has the usual influence.
        estimate = float(c @ value / c.sum())
        influence = estimate + c * (value - estimate) / c.mean()
        interval = replace(
            INTERVALS["normal"](Evidence(influence), alpha),
            method="Student t of the ratio's influence",
        )
    curve = np.add.accumulate(own)
    return Online(name, method, estimate, interval, len(own), n, curve, float(cut.mean()))
