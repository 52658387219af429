"""What estimators and intervals look at: one row of numbers for each matured decision, whatever log it came from.

Symbols: mu is the policy that logged, pi the one asked about, a the logged action, r its reward, q the reward that a model
expects of an action.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from simulator.decisions import shared
from simulator.rounding import tolerance

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Column = NDArray[np.float64]
    Narrow = NDArray[np.floating]

COLUMNS = (
    "reward",
    "mu",
    "pi",
    "q_logged",
    "q_pi",
    "unsupported",
    "expected_square",
    "w_max",
    "w_min",
)
"""Names of a Sample's columns, in its order."""
_NARROW = frozenset({"unsupported", "expected_square", "w_max", "w_min"})
# Numbers that are checked at a time: 1 MB, which is still in the cache when it is looked at again.
_BLOCK = 1 << 17


@dataclass(frozen=True, slots=True)
class Sample:
    """n rows in log order, columns [n] of float64; what only says how far overlap reaches may be float32. Where a log does not
    tell a number, it is NaN.

    Raises:
        ValueError: columns differ in length; a reward, propensity or pi is not finite; a propensity is not in (0, 1] or
            a pi not in [0, 1]; decisions are not in order. The message names column and row.

    >>> Sample.of(reward=[1.0, 0.0], mu=[0.5, 0.5], pi=[1.0, 0.2]).weight.tolist()
    [2.0, 0.4]
    """

    reward: Column
    mu: Column
    """mu(a), as logged: the propensity."""
    pi: Column
    """pi(a)."""
    q_logged: Column
    """q(x, a)."""
    q_pi: Column
    """Sum over all actions of pi(b) q(x, b)."""
    unsupported: Narrow
    """Sum of pi(b) over actions with mu(b) = 0."""
    expected_square: Narrow
    """Sum over actions with mu(b) > 0 of pi(b)^2 / mu(b): the mean of the squared weight under mu."""
    w_max: Narrow
    """Greatest pi(b) / mu(b) over all actions; inf where mu(b) = 0 < pi(b)."""
    w_min: Narrow
    """Smallest pi(b) / mu(b) over actions with mu(b) > 0."""
    decision: NDArray[np.intp] | None = field(default=None, kw_only=True)
    """The number of each row's decision, [n], never falling; None where each row is a decision of its own. Rows of one
    decision, as slots of a slate are, tell of each other: see `simulator.decisions`."""

    def __post_init__(self) -> None:
        n = len(self.reward)
        for name in COLUMNS:
            column = getattr(self, name)
            narrow = name in _NARROW and column.dtype == np.float32
            if column.shape != (n,) or not (narrow or column.dtype == np.float64):
                raise ValueError(f"{name}: {column.dtype} {column.shape}, expected float64 {(n,)}")
        decision = self.decision
        if decision is not None:
            if decision.shape != (n,) or decision.dtype != np.intp:
                raise ValueError(
                    f"decision: {decision.dtype} {decision.shape}, expected whole numbers {(n,)}"
                )
            falls = decision[1:] < decision[:-1]
            if falls.any():
                row = int(np.argmax(falls)) + 1
                raise ValueError(
                    f"decision of row {row} is {decision[row]}, after {decision[row - 1]}: must be in order"
                )
        for name, bad, must in (
            ("reward", ~np.isfinite(self.reward), "be finite"),
            ("mu", ~((self.mu > 0) & (self.mu <= 1)), "be in (0, 1]"),  # NaN compares false
            ("pi", ~((self.pi >= 0) & (self.pi <= 1 + 1e-9)), "be in [0, 1]"),
        ):
            if bad.any():
                row = int(np.argmax(bad))
                raise ValueError(f"{name} of row {row} is {getattr(self, name)[row]}: must {must}")

    @classmethod
    def of(cls, reward: object, mu: object, pi: object, **others: object) -> Sample:
        """From anything that numpy takes; columns that are not named are NaN."""
        decision = others.pop("decision", None)
        given = {"reward": reward, "mu": mu, "pi": pi, **others}
        columns = {name: np.ascontiguousarray(value, np.float64) for name, value in given.items()}
        unknown = np.broadcast_to(np.float64(np.nan), len(columns["reward"]))
        numbers = None if decision is None else np.ascontiguousarray(decision, np.intp)
        return cls(*(columns.pop(name, unknown) for name in COLUMNS), decision=shared(numbers))

    @classmethod
    def of_pmfs(
        cls,
        reward: ArrayLike,
        action: ArrayLike,
        pi: ArrayLike,
        mu: ArrayLike,
        q: ArrayLike | None = None,
    ) -> Sample:
        """From pmfs over the same K actions in each row, as Open Bandit Pipeline has them.

        Args:
            reward: [n].
            action: [n] the logged actions, 0 .. K - 1.
            pi: [n, K].
            mu: [n, K], or [n] where only the propensities are known; what needs the pmfs is NaN then.
            q: [n, K] what a model expects of each action.

        >>> sample = Sample.of_pmfs([1.0], [1], pi=[[0.2, 0.8]], mu=[[0.6, 0.4]], q=[[0.0, 0.5]])
        >>> sample.weight.tolist(), sample.q_pi.tolist(), sample.w_max.tolist()
        ([2.0], [0.4], [2.0])

        Raises:
            ValueError: shapes do not fit, an action is none of the K, a row of pi or mu is no pmf, or as for any sample.
        """
        taken, target = np.asarray(action), np.asarray(pi, np.float64)
        n = len(taken)
        if target.ndim != 2 or len(target) != n or taken.dtype.kind not in "iu":
            raise ValueError(f"pi {target.shape} must be [n, K] for {n} whole numbers as actions")
        if n and not (taken.min() >= 0 and taken.max() < target.shape[1]):
            raise ValueError(
                f"actions from {taken.min()} to {taken.max()} of {target.shape[1]}: must be 0 .. K - 1"
            )
        at = _at_actions("pi", target, taken)
        logged = np.asarray(mu, np.float64)
        others: dict[str, Column] = {}
        if logged.ndim == 2:
            if logged.shape != target.shape:
                raise ValueError(f"mu {logged.shape} and pi {target.shape} must be alike")
            propensity = _at_actions("mu", logged, taken)
            others = _overlap(target, logged)
            logged = propensity
        if q is not None:
            expected = np.asarray(q, np.float64)
            if expected.shape != target.shape:
                raise ValueError(f"q {expected.shape} and pi {target.shape} must be alike")
            others |= {
                "q_logged": expected[np.arange(n), taken],
                "q_pi": np.vecdot(target, expected),
            }
        return cls.of(reward, logged, at, **others)

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def weight(self) -> Column:
        """w = pi(a) / mu(a), [n]."""
        return self.pi / self.mu

    def rows(self, chosen: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Sample:
        """Some of the rows, in the order asked for; where rows share decisions, that must be the log's."""
        decision = None if self.decision is None else shared(self.decision[chosen])
        return Sample(*(getattr(self, name)[chosen] for name in COLUMNS), decision=decision)


def _at_actions(name: str, pmfs: NDArray[np.float64], action: NDArray[np.integer]) -> Column:
    """The actions' entries, [n], of rows [n, K] that are checked to be pmfs, a block at a time."""
    n, count = pmfs.shape
    off = tolerance(count)
    found, ones, step = np.empty(n), np.ones(count), max(1, _BLOCK // max(1, count))
    for start in range(0, n, step):
        block = pmfs[start : start + step]
        sums = block @ ones
        # NaN is the least and the greatest wherever it is, and compares false.
        if not (sums.min() >= 1 - off and sums.max() <= 1 + off and block.min() >= 0):
            fine = (np.abs(sums - 1) <= off) & (block >= 0).all(axis=1)
            row = int(np.argmin(fine))
            raise ValueError(
                f"{name} of row {start + row} has {block[row].min()} as its least entry and the sum {sums[row]}: "
                "must be >= 0 and 1"
            )
        at = np.arange(0, block.size, count) + action[start : start + step]
        found[start : start + step] = block.ravel()[at]
    return found


def _overlap(pi: NDArray[np.float64], mu: NDArray[np.float64]) -> dict[str, Column]:
    """The columns that need both pmfs, [n, K] each."""
    seen = mu > 0
    weights = np.divide(pi, mu, out=np.zeros_like(pi), where=seen)
    unsupported = np.where(seen, 0.0, pi).sum(axis=1)
    return {
        "unsupported": unsupported,
        "expected_square": np.vecdot(pi, weights),
        "w_max": np.where(unsupported > 0, np.inf, weights.max(axis=1)),
        "w_min": np.where(seen, weights, np.inf).min(axis=1),
    }
