"""Estimators of a policy's value from `Slates`, one a file, and by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.estimators.slates.cascade_dr import CascadeDR
from simulator.estimators.slates.iips import IIPS
from simulator.estimators.slates.pseudo_inverse import PseudoInverse, pseudo_inverse_weight
from simulator.estimators.slates.rips import RIPS
from simulator.estimators.slates.sips import SIPS
from simulator.estimators.slates.slates import Slates

if TYPE_CHECKING:
    from simulator.estimators.estimator import Mean

SLATE_ESTIMATORS: dict[str, type[Mean[Slates]]] = {
    cls.name: cls for cls in (SIPS, IIPS, RIPS, CascadeDR, PseudoInverse)
}
"""By name, as the command line has them. None of them has settings."""

__all__ = [
    "IIPS",
    "RIPS",
    "SIPS",
    "SLATE_ESTIMATORS",
    "CascadeDR",
    "PseudoInverse",
    "Slates",
    "pseudo_inverse_weight",
]
