"""Tables: CSV, and Parquet where pyarrow is installed. One decision with its reward in each row.

    age,country,action,propensity,reward
    31,NL,a,0.25,1
    27,,b,0.75,0

Where the whole pmf was logged, a column `pmf:a` has the probability of action a. The first row of a CSV names the columns. An empty cell is a feature that is not there, or a reward that is not known.
"""

from __future__ import annotations

import csv
import io
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from simulator.logs.batches import parquet_columns, parquet_rows
from simulator.logs.events import Decided, LogFormatError, Matured, Skipped, probability
from simulator.logs.lines import FileLog, line, open_bytes
from simulator.logs.named import Named, encode_all
from simulator.logs.shapes import encode

if TYPE_CHECKING:
    import os
    from _csv import Reader as CsvReader
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from policies import Features
    from simulator.logs.events import Event

    Row = Mapping[str, object]


_PMF = "pmf:"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column is what. Every other one is a feature of the context, unless `context` says which are."""

    action: str = "action"  # id of the action taken
    reward: str = "reward"
    propensity: str | None = "propensity"  # with `pmf` it may be missing from the table
    # action's id -> column of its probability; empty: columns whose names begin with "pmf:", if there are any
    pmf: Mapping[str, str] = field(default_factory=dict)
    actions: Sequence[
        str
    ] = ()  # ids; empty: those in `pmf`, or all that the table has, found by a first pass
    context: Sequence[str] | None = None
    categorical: Collection[str] = ()  # context columns whose numbers are names, as postcodes are
    key: str | None = None  # names the decision; None: the number of its row does


class TableLog(FileLog):
    """Rows of named cells as a log: see `events.Log`.

    A context column is numeric if its first cell that is not empty is a number, else categorical.

    Raises (also while iterating):
        LogFormatError: a column is missing, or a cell cannot be what its column is.
    """

    what = "row"

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Columns | None = None,
        reward_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(path, reward_range)
        self.columns = columns or Columns()
        self._found: list[str] = []  # ids of a first pass

    def header(self) -> list[str]:
        """Names of the columns."""
        raise NotImplementedError

    def rows(self) -> Iterator[tuple[int, Row]]:
        """(number for messages, cells by name) of each row. What is empty is None or ""."""
        raise NotImplementedError

    def events(self) -> Iterator[Event]:
        self._find_pmf()
        columns = self.columns
        ids = self._ids()
        context = self._context(self.header())
        actions = encode_all(ids, [Named() for _ in ids])
        place = {name: k for k, name in enumerate(ids)}
        numeric: dict[str, bool] = {}
        for number, row in self.rows():
            with line(self.name, number, self.what):
                taken = str(row[columns.action])
                if taken not in place:
                    raise ValueError(f"action {taken!r} is none of {', '.join(ids)}")
                chosen = place[taken]
                pmf = None
                if columns.pmf:
                    pmf = np.array([_number(row, columns.pmf.get(name, "")) for name in ids])
                if columns.propensity is not None and columns.propensity in row:
                    propensity = _number(row, columns.propensity)
                else:
                    assert pmf is not None
                    propensity = float(pmf[chosen])
                decided = Decided(
                    str(number if columns.key is None else row[columns.key]),
                    0,
                    self._features(row, context, numeric),
                    actions,
                    chosen,
                    pmf,
                    probability(propensity, "the propensity"),
                    raw=row,
                )
                known = not _empty(row[columns.reward])
                matured = Matured(decided, _number(row, columns.reward)) if known else None
            yield decided
            if matured is None:
                self.counters[Skipped.UNLABELLED] += 1
            else:
                yield matured

    def _find_pmf(self) -> None:
        """Columns called pmf:ID are the pmf, unless the caller named others."""
        if not self.columns.pmf:
            found = {c.removeprefix(_PMF): c for c in self.header() if c.startswith(_PMF)}
            self.columns = replace(self.columns, pmf=found)

    def _context(self, header: list[str]) -> list[str]:
        """Names of the context's columns, once all that is needed is there."""
        columns = self.columns
        named = {columns.action, columns.reward, *columns.pmf.values(), *(columns.context or ())}
        if columns.key is not None:
            named.add(columns.key)
        if columns.propensity is not None and not columns.pmf:
            named.add(columns.propensity)
        missing = sorted(named.difference(header))
        if missing or (columns.propensity is None and not columns.pmf):
            what = ", ".join(missing) or "a propensity or pmf"
            raise LogFormatError(
                f"{self.name}: no column {what}; it has {', '.join(header)}. Say which is what with Columns"
            )
        if columns.pmf and columns.actions and set(columns.actions) != set(columns.pmf):
            raise LogFormatError(f"{self.name}: Columns.pmf must have a column for each action")
        if columns.context is not None:
            return list(columns.context)
        return [name for name in header if name not in named | {columns.propensity}]

    def _ids(self) -> list[str]:
        columns = self.columns
        if columns.actions or columns.pmf:
            return list(columns.actions or columns.pmf)
        if not self._found:
            self._context(self.header())
            self._found = sorted({str(row[columns.action]) for _, row in self.rows()})
        return self._found

    def _features(self, row: Row, context: list[str], numeric: dict[str, bool]) -> Features:
        names, numbers, categories = [], [], []
        for name in context:
            value = row[name]
            if _empty(value):
                continue
            if name not in numeric:
                numeric[name] = name not in self.columns.categorical and _is_number(value)
            if numeric[name]:
                names.append(name)
                numbers.append(_number(row, name))
            else:
                categories.append((name, str(value)))
        return encode(tuple(names), numbers, tuple(categories))


class CsvLog(TableLog):
    """A CSV file, or one with tabs where its name ends in .tsv; packed by gzip if need be."""

    what = "line"

    def header(self) -> list[str]:
        with self._reader() as reader:
            return next(reader, [])

    def rows(self) -> Iterator[tuple[int, Row]]:
        with self._reader() as reader:
            header = next(reader, [])
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise LogFormatError(
                        f"{self.name}, line {reader.line_num}: {len(cells)} cells, {len(header)} columns"
                    )
                yield reader.line_num, dict(zip(header, cells, strict=True))

    @contextmanager
    def _reader(self) -> Iterator[CsvReader]:
        with open_bytes(self.path) as file:
            text = io.TextIOWrapper(file, "utf-8-sig", newline="")
            delimiter = "\t" if ".tsv" in self.path.suffixes else ","
            reader = csv.reader(text, strict=True, delimiter=delimiter)
            try:
                yield reader
            except (csv.Error, UnicodeDecodeError, EOFError) as error:
                raise LogFormatError(
                    f"{self.name}, after line {reader.line_num}: {error}"
                ) from error


class ParquetLog(TableLog):
    """A Parquet file of plain columns.

    Raises:
        LogFormatError: also where pyarrow is not installed.
    """

    def header(self) -> list[str]:
        return parquet_columns(self.name)

    def rows(self) -> Iterator[tuple[int, Row]]:
        return parquet_rows(self.name)


def _empty(value: object) -> bool:
    return value is None or value == ""


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(row: Row, name: str) -> float:
    value = row[name]
    if type(value) is float:  # most are
        return value
    if not _is_number(value):
        raise ValueError(
            f"column {name}: {value!r} is no number; Columns.categorical has columns of names"
        )
    return float(value)  # type: ignore[arg-type]  # a str, int or float by now
