"""Real data by name: labelled sets to play policies on, logs to replay.

labelled("ImageSegments", {})  # an Environment
log_of("obd-random-all")       # a Log
"""

from __future__ import annotations

from simulator.datasets.labelled import Labelled
from simulator.datasets.obd import ObdLog
from simulator.datasets.registry import DATASETS, DataSet, cache_folder, labelled, log_of
from simulator.datasets.table import from_csv

__all__ = [
    "DATASETS",
    "DataSet",
    "Labelled",
    "ObdLog",
    "cache_folder",
    "from_csv",
    "labelled",
    "log_of",
]
