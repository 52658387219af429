"""Any CSV with a column of labels as a data set.

The first row names the columns. A column is numeric if all its cells that are not empty are numbers, else categorical. An empty cell is
a feature that is not there.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.datasets.labelled import Labelled
from simulator.environments.environment import EnvironmentSpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def from_csv(path: str | Path, label: str = "label", delimiter: str = ",") -> Labelled:
    """The table, all of it in memory.

    Args:
        label: the column of the right actions; all others are features.

    Raises:
        EnvironmentSpecError: the file cannot be read, has no such column, or a row has no label or another number of cells; the
            message begins with the path.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            header, *rows = csv.reader(file, delimiter=delimiter)
    except OSError as error:
        raise EnvironmentSpecError(f"{path}: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:  # no header, or no UTF-8
        raise EnvironmentSpecError(f"{path}: is no CSV: {error}") from error
    return Labelled.of(str(path), _labelled(str(path), header, [row for row in rows if row], label))


def _labelled(
    path: str, header: Sequence[str], rows: Sequence[Sequence[str]], label: str
) -> list[tuple[Mapping[str, float | str], str]]:
    if len(set(header)) != len(header):
        raise EnvironmentSpecError(f"{path}: two columns have one name")
    if label not in header:
        raise EnvironmentSpecError(
            f"{path}: no column {label!r} for labels; there are {', '.join(header)}"
        )
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise EnvironmentSpecError(
                f"{path}, row {number}: {len(row)} cells for {len(header)} columns"
            )
    numeric = [all(map(_number, column)) for column in zip(*rows, strict=True)]
    where = header.index(label)
    found: list[tuple[Mapping[str, float | str], str]] = []
    for number, row in enumerate(rows, 1):
        if not row[where]:
            raise EnvironmentSpecError(f"{path}, row {number}: has no label")
        features = {
            name: float(cell) if is_number else cell
            for name, cell, is_number in zip(header, row, numeric, strict=True)
            if cell and name != label
        }
        found.append((features, row[where]))
    return found


def _number(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True
