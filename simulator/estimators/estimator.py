"""What every estimator can be asked, and the two kinds there are: a mean of rows, and a ratio of two means.

Intervals, tests of two policies and SLOPE need one thing of an estimator only, `influence`: n numbers whose mean is the
value, and whose standard deviation over sqrt(n) is the value's standard error. For a mean these are its rows, and
any interval for the mean of independent rows is an interval for the value. For a ratio they are what the delta method
makes of it, right for large n only: nothing that promises cover at every n may be built on them.

Symbols: mu is the policy that logged, pi the one asked about, a the logged action, r its reward, w = pi(a) / mu(a), q the
reward that a model expects of an action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sized
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from simulator import decisions
from simulator.ips import NotIdentifiable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulator.sample import Column, Sample

In = TypeVar("In", bound=Sized)
"""What is estimated from: a `Sample`, or `Slates`."""
_In_contra = TypeVar("_In_contra", bound=Sized, contravariant=True)


class Estimator(Protocol[_In_contra]):
    """An estimate of a policy's value, in reward units.

    All of them take the log's propensities to be those that were played, and pi to have been fixed before the first
    of the rows. None of them looks at `Sample.unsupported`: what pi does where mu never went is left out by the
    weights and made up by the model.
    """

    name: ClassVar[str]
    """As in the registry and in reports."""
    needs_model: ClassVar[bool]
    """Whether it reads q."""
    tuned: ClassVar[str | None]
    """The setting that trades bias for variance, for SLOPE to choose; None if there is none."""

    @property
    def settings(self) -> dict[str, float]:
        """Settings by name."""
        ...

    def value(self, sample: _In_contra) -> float:
        """The estimate.

        Raises:
            NotIdentifiable: the sample cannot tell; the message says why, and what would help.
        """
        ...

    def influence(self, sample: _In_contra) -> Column:
        """Numbers [n] whose mean is the value and whose spread is its standard error's, see above.

        Raises:
            NotIdentifiable: as `value`.
        """
        ...


class _Settings:
    """The settings of a dataclass are its fields."""

    @property
    def settings(self) -> dict[str, float]:
        """Settings by name."""
        if not is_dataclass(self):
            return {}
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Mean(_Settings, ABC, Generic[In]):
    """An estimate that is the mean of one number for each row."""

    name: ClassVar[str]
    needs_model: ClassVar[bool] = False
    tuned: ClassVar[str | None] = None

    @abstractmethod
    def rows(self, sample: In) -> Column:
        """What each row contributes, [n], in reward units.

        Raises:
            NotIdentifiable: the estimator needs a number that the sample has not.
        """

    def value(self, sample: In) -> float:
        """The mean of the rows.

        Raises:
            NotIdentifiable: there are no rows, or as `rows`.
        """
        some(sample)
        return float(self.rows(sample).mean())

    def influence(self, sample: In) -> Column:
        """The rows themselves."""
        some(sample)
        return self.rows(sample)


class Ratio(_Settings, ABC):
    """An estimate mean(offset) + sum(numerator) / sum(denominator).

    It is biased, by an amount that falls like 1/n, and has no rows. With R the ratio, its influence is
    offset + R + (numerator - R denominator) / mean(denominator): the value, and the ratio's residuals to first order.
    """

    name: ClassVar[str]
    needs_model: ClassVar[bool] = False
    tuned: ClassVar[str | None] = None

    @abstractmethod
    def terms(self, sample: Sample) -> tuple[Column, Column, Column]:
        """Offset, numerator, denominator, [n] each. The denominator is an array of its own, which the caller may write to.

        Raises:
            NotIdentifiable: the estimator needs a number that the sample has not.
        """

    def value(self, sample: Sample) -> float:
        """The estimate.

        Raises:
            NotIdentifiable: there are no rows, all weights are 0, or as `terms`.
        """
        offset, numerator, denominator = self._usable(sample)
        return float(offset.mean() + numerator.sum() / denominator.sum())

    def influence(self, sample: Sample) -> Column:
        """Numbers [n] with the value as their mean, for the delta method.

        Raises:
            NotIdentifiable: as `value`.
        """
        offset, numerator, denominator = self._usable(sample)
        ratio, mean = float(numerator.sum() / denominator.sum()), float(denominator.mean())
        influence = denominator  # in place: at 10 million rows a column is 80 MB
        influence *= -ratio
        influence += numerator
        influence /= mean
        influence += ratio
        influence += offset
        return influence

    def _usable(self, sample: Sample) -> tuple[Column, Column, Column]:
        some(sample)
        offset, numerator, denominator = self.terms(sample)
        if not denominator.sum() > 0:
            raise NotIdentifiable(
                f"{self.name}: all weights are 0, the policy takes none of the logged actions; "
                "log more rows, or with more exploration"
            )
        return offset, numerator, denominator


def standard_error(influence: Column, decision: NDArray[np.intp] | None = None) -> float:
    """That of the value, in reward units, from its influence [n]; NaN for fewer than two rows.

    Args:
        decision: as `Sample.decision`; where rows share decisions, these are what is independent.

    >>> standard_error(np.array([0.0, 2.0]))
    1.0
    """
    if decision is not None:
        return decisions.standard_error(influence, decision)[0]
    n = len(influence)
    return float(influence.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def model(sample: Sample, estimator: str) -> tuple[Column, Column]:
    """The model's columns: q(x, a) of the logged action and its mean under pi, [n] each.

    Raises:
        NotIdentifiable: a row has none.
    """
    missing: NDArray[np.bool_] = ~(np.isfinite(sample.q_logged) & np.isfinite(sample.q_pi))
    if missing.any():
        raise NotIdentifiable(
            f"{estimator} needs q and row {int(np.argmax(missing))} has none; fit a reward model that has not seen the "
            "rows it is asked about, or take an estimator without one (ips, snips)"
        )
    return sample.q_logged, sample.q_pi


def some(sample: Sized) -> None:
    """Raises NotIdentifiable if there are no rows."""
    if not len(sample):
        raise NotIdentifiable("there are no rows yet")


def check_at_least(name: str, value: float, least: float) -> None:
    """Raises ValueError if a setting is below its least value, or NaN; inf is fine."""
    if not value >= least:  # NaN compares false
        raise ValueError(f"{name} {value}: must be at least {least:g}")
