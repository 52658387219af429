"""Offline: what would another policy have earned, and how would it have learned?

    from simulator import compare, open_log

    found = compare(open_log("log.csv"), ["linucb", "lints:scale=0.5"])
    print(found.markdown())

| what | how |
|---|---|
| a log | `open_log`, `ArraysLog`, `Columns` |
| what would others have earned? | `compare`; piece by piece `simulator.replay.replay`, `evaluate`, `Trained`, `Frozen`, `Progressive`, `CrossFitted` |
| what would it earn live? | `live` |
| how does it learn where the truth is known? | `simulate`, `environment_of` |
| which settings? | `tune`, `Opened`; many runs: `simulator.experiments` |
| estimators, intervals, overlap | `ESTIMATORS`, `INTERVALS`, `Overlap`, `Sample` |

Estimators are light; what needs River loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from simulator.empirical_likelihood import Interval, empirical_likelihood_interval
from simulator.ips import Ips, NotIdentifiable, weight_range

if TYPE_CHECKING:
    from simulator.comparison import Comparison, compare
    from simulator.environments import environment_of
    from simulator.estimators import ESTIMATORS
    from simulator.evaluation import Estimate, Evaluation, evaluate
    from simulator.experiments import Opened, tune
    from simulator.full_information import FullInformation
    from simulator.intervals import INTERVALS, ConfidenceInterval, Evidence
    from simulator.lives import Lives, live
    from simulator.logs import ArraysLog, Columns, Decided, LogFormatError, Matured, open_log
    from simulator.overlap import Overlap
    from simulator.reward_models import CrossFitted, Progressive
    from simulator.sample import Sample
    from simulator.simulation import Run, simulate
    from simulator.targets import Frozen, Trained
    from simulator.worlds import LabelledRow, World, image_segments

# Name -> the module that has it.
_LAZY = {
    name: f"simulator.{module}"
    for module, names in {
        "comparison": ("Comparison", "compare"),
        "environments": ("environment_of",),
        "estimators": ("ESTIMATORS",),
        "evaluation": ("Estimate", "Evaluation", "evaluate"),
        "experiments": ("Opened", "tune"),
        "full_information": ("FullInformation",),
        "intervals": ("INTERVALS", "ConfidenceInterval", "Evidence"),
        "lives": ("Lives", "live"),
        "logs": ("ArraysLog", "Columns", "Decided", "LogFormatError", "Matured", "open_log"),
        "overlap": ("Overlap",),
        "reward_models": ("CrossFitted", "Progressive"),
        "sample": ("Sample",),
        "simulation": ("Run", "simulate"),
        "targets": ("Frozen", "Trained"),
        "worlds": ("LabelledRow", "World", "image_segments"),
    }.items()
    for name in names
}

__all__ = [
    "ESTIMATORS",
    "INTERVALS",
    "ArraysLog",
    "Columns",
    "Comparison",
    "ConfidenceInterval",
    "CrossFitted",
    "Decided",
    "Estimate",
    "Evaluation",
    "Evidence",
    "Frozen",
    "FullInformation",
    "Interval",
    "Ips",
    "LabelledRow",
    "Lives",
    "LogFormatError",
    "Matured",
    "NotIdentifiable",
    "Opened",
    "Overlap",
    "Progressive",
    "Run",
    "Sample",
    "Trained",
    "World",
    "compare",
    "empirical_likelihood_interval",
    "environment_of",
    "evaluate",
    "image_segments",
    "live",
    "open_log",
    "simulate",
    "tune",
    "weight_range",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'simulator' has no attribute {name!r}")
