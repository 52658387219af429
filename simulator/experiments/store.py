"""Results that outlive the process that made them: one line of JSON for each finished trial, on disk before it counts.

FOLDER/experiment.json   what all trials have in common, so that nobody mixes two experiments
FOLDER/results.jsonl     {"trial": digest, "facts": {...}, "result": {...}} in the order in which they were finished
FOLDER/lock              held by the one process that is at work here

A process that is killed leaves whole lines and at most a torn last one, which is cut off; its trial runs again.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from server.files import InUseError, exclusive, replace
from simulator.experiments.trial import canonical, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMAT = 1
_SHOWN = 3  # differences between two experiments in a message


class StoreError(Exception):
    """The folder cannot be used for this experiment. The message says why, and what to do."""


class Store:
    """The results in a folder: see `store`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results = _read(path)

    def get(self, facts: Mapping[str, Any]) -> dict[str, Any] | None:
        """The result of the trial with these facts; None if there is none yet."""
        return self._results.get(digest_of(facts))

    def add(self, facts: Mapping[str, Any], result: dict[str, Any]) -> None:
        """Keeps a result; it is on disk when this returns."""
        name = digest_of(facts)
        line = canonical({"trial": name, "facts": facts, "result": result})
        with self._path.open("ab") as file:
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._results[name] = result


@contextmanager
def store(folder: Path, experiment: Mapping[str, Any]) -> Iterator[Store]:
    """The results of an experiment, for this process alone.

    Args:
        folder: is made if it is not there.
        experiment: what all its trials have in common, as JSON has it.

    Raises:
        StoreError: the folder holds something else, is damaged, or another process is at work in it.
    """
    given: dict[str, Any] = {"format": FORMAT, **json.loads(canonical(experiment))}
    _refuse_strangers(folder)
    try:
        with exclusive(folder / "lock"):
            about = folder / "experiment.json"
            if about.exists():
                _refuse_another(folder, _described(about), given)
            else:
                replace(about, json.dumps(given, indent=1).encode(), durable=True)
            yield Store(folder / "results.jsonl")
    except InUseError as error:
        raise StoreError(
            f"{folder}: another process is at work here; wait for it, or take another folder"
        ) from error


def _refuse_strangers(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is a file; give a folder for results")
    if folder.is_dir() and not (folder / "experiment.json").exists():
        others = sorted(path.name for path in folder.iterdir() if path.name != "lock")
        others = [
            name for name in others if not name.startswith(".experiment.json.")
        ]  # of `replace`
        if others:
            raise StoreError(
                f"{folder}: holds {others[0]!r} and no experiment; give a folder that is empty or not there yet"
            )


def _described(about: Path) -> Any:
    """What the folder says that its results are of."""
    try:
        return json.loads(about.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise StoreError(
            f"{about}: is damaged, so nothing tells what the results here are of ({error}); take another folder, or "
            "remove this one"
        ) from error


def _refuse_another(folder: Path, there: Any, given: dict[str, Any]) -> None:
    before, now = dict(_leaves(there)), dict(_leaves(given))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if not names:
        return
    said = "; ".join(
        f"{name} was {before.get(name, 'not there')}, is {now.get(name, 'not there')}"
        for name in names[:_SHOWN]
    )
    if any(name.startswith("log.") for name in names):
        raise StoreError(
            f"{folder}: the log is not the one that these results are from: {said}. Results of two logs cannot be compared: take "
            "another folder. A log that still grows is exported first (rankd log export), and the file is what to ask"
        )
    raise StoreError(
        f"{folder}: holds results of another experiment: {said}. Take another folder, or remove this one"
    )


def _leaves(facts: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Facts with the path to each: {"log": {"rows": 1}} has ("log.rows", 1)."""
    if isinstance(facts, dict):
        for name, inner in facts.items():
            yield from _leaves(inner, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, facts


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Results by trial; a torn last line is cut off."""
    if not path.exists():
        return {}
    found = {}
    whole = 0  # bytes
    with path.open("rb") as file:
        lines = file.readlines()
    for number, line in enumerate(lines, 1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("no end")
            entry = json.loads(line)
            found[entry["trial"]] = entry["result"]
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):
                raise StoreError(
                    f"{path}, line {number}: is damaged; remove the line, and its trial runs again"
                ) from error
            os.truncate(path, whole)
        whole += len(line)
    return found
