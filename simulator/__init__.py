"""Offline: what would another policy have earned, and how would it have learned?

Estimators are light; what needs River loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from simulator.empirical_likelihood import Interval, empirical_likelihood_interval
from simulator.ips import Ips, NotIdentifiable, weight_range

if TYPE_CHECKING:
    from simulator.full_information import FullInformation
    from simulator.worlds import LabelledRow, World, image_segments

_LAZY = {
    "FullInformation": "simulator.full_information",
    "LabelledRow": "simulator.worlds",
    "World": "simulator.worlds",
    "image_segments": "simulator.worlds",
}

__all__ = [
    "FullInformation",
    "Interval",
    "Ips",
    "LabelledRow",
    "NotIdentifiable",
    "World",
    "empirical_likelihood_interval",
    "image_segments",
    "weight_range",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'simulator' has no attribute {name!r}")
