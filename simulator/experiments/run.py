"""Trials, in parallel and resumable: results are the same to the bit however many jobs there are and however often they were interrupted."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from simulator.experiments.code import code_version
from simulator.experiments.orphans import end_with
from simulator.experiments.store import store
from simulator.experiments.trial import canonical, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from simulator.experiments.trial import Trial

# Trials for each job in a list that is done before the next one begins: a worker waits for the slowest of them once in so many trials,
# and so many for each job are lost where a run is killed.
_LIST = 4


def run(
    trials: Sequence[Trial],
    *,
    experiment: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    jobs: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Every trial's result, in the order of the trials.

    They go through joblib, so the same call runs here one after the other, in processes of this machine, or, within
    `joblib.parallel_config(backend="dask")`, or `(backend="ray", n_jobs=-1)`, on a cluster, whose machines must see the same files under the same paths.
    Processes of this machine end when this one does, also if it is killed.

    >>> from simulator.experiments import Play
    >>> trials = [Play("linear:actions=2", {"type": "uniform"}, rounds=10, seed=seed) for seed in (1, 2)]
    >>> [result["rounds"] for result in run(trials)]
    [10, 10]

    Args:
        trials: those with equal facts run once.
        experiment: what they have in common; a folder of results takes no other experiment's. The version of the code is added.
        folder: where results are kept: run again with the same folder, and only what is missing is done. None keeps nothing.
        jobs: None: as joblib is configured, else one after the other. So many processes; -1: as many as there are cores. 1: this
            process, without joblib.
        progress: called with the number of trials that are done; where jobs is 1 also with parts of them.

    Raises:
        StoreError: the folder cannot be used.
        Exception: whatever a trial raises. What was finished before is in the folder.
    """
    tell = progress or _nobody
    # By name, so that equal trials run once.
    named = {digest_of(trial.facts): trial for trial in trials}
    about = {**(experiment or {}), "code": code_version()}
    with store(folder, about) if folder is not None else nullcontext() as kept:
        found: dict[str, dict[str, Any]] = {}
        for name, trial in named.items():
            known = None if kept is None else kept.get(trial.facts)
            if known is not None:
                found[name] = known
        missing = {name: trial for name, trial in named.items() if name not in found}
        tell(len(found))
        for name, result in _done(missing, jobs, lambda part: tell(len(found) + part)):
            if kept is not None:
                kept.add(named[name].facts, result)
            found[name] = result
            tell(len(found))
    return [found[digest_of(trial.facts)] for trial in trials]


def _nobody(done: float) -> None:
    """Is told, and does nothing."""


def _done(
    trials: Mapping[str, Trial], jobs: int | None, tell: Callable[[float], None]
) -> Iterable[tuple[str, dict[str, Any]]]:
    """(name, result) of each trial, as they are finished."""
    if jobs == 1:
        return _here(trials, tell)
    from joblib import delayed  # a fifth of a second, and one job needs none of it

    work, here = delayed(_named), os.getpid()
    return _beside_each_other([work(name, trial, here) for name, trial in trials.items()], jobs)


def _beside_each_other(tasks: list[Any], jobs: int | None) -> Iterator[Any]:
    """What joblib's tasks return, as they are done."""
    from joblib import Parallel, effective_n_jobs

    try:
        parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
    except (
        ValueError
    ):  # some backends, as Ray's, give lists only: what is finished is kept list by list
        parallel = Parallel(n_jobs=jobs)
        size = _LIST * effective_n_jobs(jobs)
        for begin in range(0, len(tasks), size):
            yield from parallel(tasks[begin : begin + size])
        return
    yield from parallel(tasks)


def _here(
    trials: Mapping[str, Trial], tell: Callable[[float], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, trial in trials.items():
        yield name, _plain(trial.run(tell))


def _named(name: str, trial: Trial, asked_by: int) -> tuple[str, dict[str, Any]]:
    end_with(asked_by)
    return name, _plain(trial.run())


def _plain(result: dict[str, Any]) -> dict[str, Any]:
    """The result as it comes back from a store, so that nobody sees the difference."""
    found: dict[str, Any] = json.loads(canonical(result))
    return found
