"""Many trials at once: policies, seeds and settings, in parallel, resumable after a kill, the same to the bit however they were run.

run([Play("linear", {"type": "linucb"}, rounds=1_000, seed=seed) for seed in range(1, 11)], jobs=2, folder=Path("results"))
tune(FileSource("log.csv"), ["linucb:alpha=[0.1,0.3,1]"])
"""

from __future__ import annotations

from simulator.experiments.ask import Ask, Question
from simulator.experiments.choice import Choice, choose
from simulator.experiments.code import code_version
from simulator.experiments.fingerprint import Survey, data_digest, survey
from simulator.experiments.grid import Candidate, candidates_of
from simulator.experiments.play import Play
from simulator.experiments.run import run
from simulator.experiments.search import (
    CHOOSE_ON,
    ESTIMATOR_NAMES,
    NothingToChooseError,
    tune,
)
from simulator.experiments.source import FileSource, Opened, Source
from simulator.experiments.store import Store, StoreError, store
from simulator.experiments.trial import Trial, digest_of
from simulator.experiments.tuning import Compared, Tuning, Valued

__all__ = [
    "CHOOSE_ON",
    "ESTIMATOR_NAMES",
    "Ask",
    "Candidate",
    "Choice",
    "Compared",
    "FileSource",
    "NothingToChooseError",
    "Opened",
    "Play",
    "Question",
    "Source",
    "Store",
    "StoreError",
    "Survey",
    "Trial",
    "Tuning",
    "Valued",
    "candidates_of",
    "choose",
    "code_version",
    "data_digest",
    "digest_of",
    "run",
    "store",
    "survey",
    "tune",
]
