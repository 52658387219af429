"""Data sets by name, and what one should know before using them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simulator.datasets.bundled import from_river, from_sklearn
from simulator.datasets.obd import BEHAVIOURS, CAMPAIGNS, PACKAGE, ObdLog, fetch
from simulator.datasets.table import from_csv
from simulator.environments.environment import EnvironmentSpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.datasets.labelled import Labelled
    from simulator.logs import Log

_UCI = "UCI repository: see there"
_OBD = "the data set's own terms; the package: Apache 2.0"


@dataclass(frozen=True, slots=True)
class DataSet:
    """What is known of a data set without loading it."""

    name: str
    kind: Literal["labelled", "log"]  # rounds for `rankd simulate`, or a log for `rankd replay`
    rows: int
    features: int  # of the context, before categories are spread out
    actions: int
    source: str
    licence: str  # a note, no legal advice
    needs: str  # a package or a download; "" if nothing but rankd itself
    load: Callable[[Path], Any]
    """The Labelled or Log; given a folder where downloads are kept."""


def _labelled(
    load: Callable[[str], Labelled],
    source: str,
    needs: str,
    name: str,
    rows: int,
    features: int,
    actions: int,
    licence: str = _UCI,
) -> DataSet:
    return DataSet(
        name, "labelled", rows, features, actions, source, licence, needs, lambda _: load(name)
    )


_river = partial(_labelled, from_river, "inside River", "")
_sklearn = partial(_labelled, from_sklearn, "inside scikit-learn", "scikit-learn")


def _obd(behaviour: str, campaign: str) -> DataSet:
    return DataSet(
        f"obd-{behaviour}-{campaign}",
        "log",
        10_000,
        5,
        CAMPAIGNS[campaign],
        "Open Bandit Dataset, the sample",
        _OBD,
        f"once: pip download {PACKAGE}",
        partial(_obd_log, behaviour, campaign),
    )


def _obd_log(behaviour: str, campaign: str, cache: Path) -> ObdLog:
    folder = fetch(cache, behaviour, campaign)
    return ObdLog(folder / f"{campaign}.csv", uniform=behaviour == "random")


DATASETS: Mapping[str, DataSet] = {
    each.name: each
    for each in (
        _river("ImageSegments", 2_310, 18, 7),
        _river("Phishing", 1_250, 9, 2),
        _river("Bananas", 5_300, 2, 2, "artificial; see OpenML, set 1460"),
        _river("Shuttle", 49_097, 9, 2),
        _sklearn("digits", 1_797, 64, 10),
        _sklearn("iris", 150, 4, 3),
        _sklearn("wine", 178, 13, 3),
        _sklearn("breast_cancer", 569, 30, 2),
        *(_obd(behaviour, campaign) for behaviour in BEHAVIOURS for campaign in CAMPAIGNS),
    )
}


def cache_folder() -> Path:
    """Where downloads are kept unless the caller says otherwise: rankd's part of the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rankd" / "datasets"


def labelled(name: str, settings: Mapping[str, Any], cache: Path | None = None) -> Labelled:
    """A data set as an environment; "csv" takes the settings `path`, `label` and `delimiter`, all others take none.

    Raises:
        EnvironmentSpecError: it is no such set or has no such setting, or what it needs is missing.
    """
    if name == "csv":
        unknown = [key for key in settings if key not in ("path", "label", "delimiter")]
        if unknown or "path" not in settings:
            raise EnvironmentSpecError("csv takes path=FILE, label=COLUMN and delimiter=SIGN")
        return from_csv(**{key: str(value) for key, value in settings.items()})
    data = _find(name)
    if data.kind != "labelled":
        raise EnvironmentSpecError(f"{name} is a log: nobody knows what other actions would earn")
    if settings:
        raise EnvironmentSpecError(f"{name} has no setting {next(iter(settings))!r}")
    found: Labelled = data.load(cache or cache_folder())
    return found


def log_of(name: str, cache: Path | None = None) -> Log:
    """A data set that is a log; downloads it if it is not in the cache.

    Raises:
        EnvironmentSpecError: it is no such set, or cannot be downloaded.
        LogFormatError: the files are not what they should be.
    """
    data = _find(name)
    if data.kind != "log":
        raise EnvironmentSpecError(f"{name} has labels and is no log")
    found: Log = data.load(cache or cache_folder())
    return found


def _find(name: str) -> DataSet:
    if name not in DATASETS:
        raise EnvironmentSpecError(f"no data set {name!r}; known are {', '.join(DATASETS)}")
    return DATASETS[name]
