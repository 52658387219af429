"""Estimators of a policy's value from a `Sample`, one a file, and by name. For slates: `simulator.estimators.slates`."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from simulator.estimators.clipped import ClippedIPS
from simulator.estimators.dm import DM
from simulator.estimators.dr import DR
from simulator.estimators.dros import DRos
from simulator.estimators.estimator import Estimator, Mean, Ratio, standard_error
from simulator.estimators.inverse_propensity import IPS
from simulator.estimators.mrdr import MRDR, mrdr_weight
from simulator.estimators.slope import Selection, slope, split, thresholds
from simulator.estimators.sndr import SNDR
from simulator.estimators.snips import SNIPS
from simulator.estimators.switch_dr import SwitchDR
from simulator.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ESTIMATORS: dict[str, type[Mean[Sample]] | type[Ratio]] = {
    cls.name: cls for cls in (IPS, ClippedIPS, SNIPS, DM, DR, SNDR, SwitchDR, DRos, MRDR)
}
"""By name, as the command line has them."""

__all__ = [
    "DM",
    "DR",
    "ESTIMATORS",
    "IPS",
    "MRDR",
    "SNDR",
    "SNIPS",
    "ClippedIPS",
    "DRos",
    "Estimator",
    "Mean",
    "Ratio",
    "Sample",
    "Selection",
    "SwitchDR",
    "create",
    "mrdr_weight",
    "slope",
    "split",
    "standard_error",
    "thresholds",
    "tunings",
]


def create(name: str, settings: Mapping[str, float] | None = None) -> Estimator[Sample]:
    """The estimator of that name, with its settings.

    >>> create("switch-dr", {"tau": 10.0})
    SwitchDR(tau=10.0)

    Raises:
        ValueError: there is no such estimator or setting, a setting is missing or out of its range; the message names it.
    """
    cls, given = _find(name), dict(settings or {})
    known = {field.name for field in fields(cls)} if is_dataclass(cls) else set()
    for setting in given:
        if setting not in known:
            raise ValueError(f"{name} has no setting {setting!r}; it has {sorted(known) or 'none'}")
    if missing := sorted(known - set(given)):
        raise ValueError(f"{name} needs {missing[0]}: state it, or let SLOPE choose it")
    make: Callable[..., Estimator[Sample]] = cls
    return make(**given)


def tunings(name: str, sample: Sample, size: int = 8) -> list[Estimator[Sample]]:
    """The estimator of that name at several settings, for SLOPE to choose from on that sample; the unbiased one is last.

    With a model, the direct method (setting 0) is the first of them. An estimator with nothing to tune comes alone.

    >>> quarter = Sample.of(reward=[0, 0], mu=[0.25, 1.0], pi=[1.0, 1.0])
    >>> tunings("dros", quarter, size=4)
    [DRos(lambda_=0.0), DRos(lambda_=1.0), DRos(lambda_=4.0), DRos(lambda_=16.0), DRos(lambda_=inf)]

    Raises:
        ValueError: there is no such estimator, or size is less than 3.
        NotIdentifiable: there are no rows.
    """
    cls = _find(name)
    if cls.tuned is None:
        return [create(name)]
    grid = thresholds(sample, size)
    if cls is DRos:
        grid = [threshold * threshold for threshold in grid]
    if cls.needs_model:
        grid = [0.0, *grid]
    return [create(name, {cls.tuned: value}) for value in grid]


def _find(name: str) -> Any:
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    near = get_close_matches(name, ESTIMATORS, n=3) or sorted(ESTIMATORS)
    raise ValueError(f"no estimator {name!r}; {', '.join(near)}")
