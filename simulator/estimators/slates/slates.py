"""What estimators for slates look at: for each decision, one number for each of its slots.

Symbols: x the context, L the number of slots, a_1 ... a_L the logged slate, r_l the reward of slot l, mu the policy that
logged, pi the one asked about.

A slate is drawn slot by slot, each given those before it; what was logged is each slot's conditional probability. That is
not the slot's marginal, the probability that the slot holds this action whatever is above it: a marginal is a sum over
all slates, so it comes from whoever can take that sum, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from simulator.ips import NotIdentifiable
from simulator.sample import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grid = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Slates:
    """n rows in log order of L slots, [n, L] of float64. What a log does not tell is NaN.

    The value of a slate is the sum of its slots' rewards; slots that count less have theirs multiplied beforehand. A
    slate with fewer slots than L has reward 0, pi = mu = 1 and q = slot_weight = 0 in the rest.

    Raises:
        ValueError: shapes differ; a reward is not finite; a mu is not in (0, 1] or NaN, or a pi not in [0, 1] or NaN.
            The message names column, row and slot.

    >>> slates = Slates.of(reward=[[1, 0]], mu=[[0.5, 0.5]], pi=[[1.0, 0.25]])
    >>> slates.prefix_weight().tolist()
    [[2.0, 1.0]]
    """

    reward: Grid
    """r_l."""
    mu: Grid
    """mu(a_l | x, a_1 ... a_l-1), as logged."""
    pi: Grid
    """pi(a_l | x, a_1 ... a_l-1)."""
    mu_marginal: Grid
    """mu(slot l holds a_l | x)."""
    pi_marginal: Grid
    """pi(slot l holds a_l | x)."""
    q_logged: Grid
    """q_l(x, a_1 ... a_l): what a model expects of slots l to L together."""
    q_pi: Grid
    """Sum over actions b of pi(b | x, a_1 ... a_l-1) q_l(x, a_1 ... a_l-1, b)."""

    slot_weight: Grid
    """Slot l's part q_pi' Gamma^+ 1_(l, a_l) of the pseudo-inverse weight, which is their sum; see `pseudo_inverse`."""

    def __post_init__(self) -> None:
        shape = self.reward.shape
        for field in fields(self):
            column = getattr(self, field.name)
            if len(shape) != 2 or column.shape != shape or column.dtype != np.float64:
                raise ValueError(
                    f"{field.name}: {column.dtype} {column.shape}, expected float64 [n, L] as all others"
                )
        for name, bad, must in (
            ("reward", ~np.isfinite(self.reward), "be finite"),
            *(
                (m, (getattr(self, m) <= 0) | _above_one(getattr(self, m)), "be in (0, 1]")
                for m in _MU
            ),
            *(
                (p, (getattr(self, p) < 0) | _above_one(getattr(self, p)), "be in [0, 1]")
                for p in _PI
            ),
        ):
            if bad.any():
                row, slot = (int(index) for index in np.argwhere(bad)[0])
                value = getattr(self, name)[row, slot]
                raise ValueError(f"{name} of row {row}, slot {slot} is {value}: must {must}")

    @classmethod
    def of(cls, reward: object, mu: object, pi: object, **others: object) -> Slates:
        """From anything that numpy takes; columns that are not named are NaN."""
        given = {"reward": reward, "mu": mu, "pi": pi, **others}
        columns = {name: np.ascontiguousarray(value, np.float64) for name, value in given.items()}
        shape = columns["reward"].shape
        return cls(**{f.name: columns.pop(f.name, np.full(shape, np.nan)) for f in fields(cls)})

    def __len__(self) -> int:
        return len(self.reward)

    def rows(self, chosen: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Slates:
        """Some of the rows, in the order asked for."""
        return Slates(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def whole(self) -> Sample:
        """Each slate as one action, whose reward is the sum and whose weight the product: IPS of it is SIPS.

        >>> Slates.of(reward=[[1, 2]], mu=[[0.5, 0.5]], pi=[[1.0, 0.25]]).whole().weight.tolist()
        [1.0]

        Raises:
            NotIdentifiable: a conditional is missing.
        """
        mu = self.mu.prod(axis=1)
        return Sample.of(self.reward.sum(axis=1), mu, self.prefix_weight()[:, -1] * mu)

    def prefix_weight(self) -> Grid:
        """How much likelier pi draws the slots up to and including l, as they were, than mu: [n, L].

        After a slot that pi would not have filled so, the weight is 0 whatever pi's conditionals are, which then
        condition on what cannot be; they may be NaN.

        Raises:
            NotIdentifiable: a conditional is missing.
        """
        ratio = self.pi / self.mu
        missed = np.zeros(ratio.shape, np.bool_)
        missed[:, 1:] = np.logical_or.accumulate(self.pi[:, :-1] == 0, axis=1)
        weight = np.cumprod(np.where(missed, 0.0, ratio), axis=1, dtype=np.float64)
        if (missing := np.isnan(weight)).any():
            row, slot = (int(index) for index in np.argwhere(missing)[0])
            raise NotIdentifiable(
                f"row {row}, slot {slot} has no conditional probability of both policies given the slots before it; "
                "log each slot's, and evaluate pi along the logged slate"
            )
        return weight

    def marginal_weight(self) -> Grid:
        """How much likelier pi is to have the slot's action there than mu: [n, L].

        Raises:
            NotIdentifiable: a marginal is missing. Conditionals are no substitute.
        """
        weight: Grid = self.pi_marginal / self.mu_marginal
        if (missing := np.isnan(weight)).any():
            row, slot = (int(index) for index in np.argwhere(missing)[0])
            raise NotIdentifiable(
                f"row {row}, slot {slot} has no marginal probability of both policies, and a conditional one is not "
                "that; compute the marginals (policies whose slots do not depend on each other have them), or take "
                "rips or sips"
            )
        return weight


_MU = ("mu", "mu_marginal")
_PI = ("pi", "pi_marginal")


def _above_one(column: Grid) -> NDArray[np.bool_]:
    return column > 1 + 1e-9  # rounding may carry a sum a little over 1; NaN compares false
