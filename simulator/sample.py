"""What estimators and intervals look at: one row of numbers for each matured decision, whatever log it came from.

Symbols: mu is the policy that logged, pi the one asked about, a the logged action, r its reward, q the reward that a model
expects of an action.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """n rows in log order, columns [n] of float64. Where a log does not tell a number, it is NaN.

    Raises:
        ValueError: columns differ in length; a reward, propensity or pi is not finite; a propensity is not in (0, 1] or
            a pi not in [0, 1]. The message names column and row.

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
    unsupported: Column
    """Sum of pi(b) over actions with mu(b) = 0."""
    expected_square: Column
    """Sum over actions with mu(b) > 0 of pi(b)^2 / mu(b): the mean of the squared weight under mu."""
    w_max: Column
    """Greatest pi(b) / mu(b) over all actions; inf where mu(b) = 0 < pi(b)."""
    w_min: Column
    """Smallest pi(b) / mu(b) over actions with mu(b) > 0."""

    def __post_init__(self) -> None:
        n = len(self.reward)
        for field in fields(self):
            column = getattr(self, field.name)
            if column.shape != (n,) or column.dtype != np.float64:
                raise ValueError(
                    f"{field.name}: {column.dtype} {column.shape}, expected float64 {(n,)}"
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
        given = {"reward": reward, "mu": mu, "pi": pi, **others}
        columns = {name: np.ascontiguousarray(value, np.float64) for name, value in given.items()}
        n = len(columns["reward"])
        return cls(**{f.name: columns.pop(f.name, np.full(n, np.nan)) for f in fields(cls)})

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def weight(self) -> Column:
        """w = pi(a) / mu(a), [n]."""
        return self.pi / self.mu

    def rows(self, chosen: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Sample:
        """Some of the rows, in the order asked for."""
        return Sample(*(getattr(self, field.name)[chosen] for field in fields(self)))
