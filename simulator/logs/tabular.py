"""Tables: CSV, and Parquet where pyarrow is installed. One decision with its reward in each row.

    age,country,action,propensity,reward
    31,NL,a,0.25,1
    27,,b,0.75,0

Where the whole pmf was logged, a column `pmf:a` has the probability of action a. The first row of a CSV names the columns. An empty cell is a feature that is not there, or a reward that is not known.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from simulator.logs.batches import parquet_columns, parquet_rows
from simulator.logs.events import Decided, LogFormatError, Matured, Skipped, probability
from simulator.logs.lines import FileLog, line
from simulator.logs.named import Named, encode_all
from simulator.logs.parquet_file import ParquetFile
from simulator.logs.shapes import encode
from simulator.logs.times import microseconds

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from policies import Features
    from simulator.logs.events import Event

    Row = Mapping[str, object]


# Columns of a table that a message names: enough to find the one that was meant.
_NAMED = 20
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
    time: str | None = None  # when it was made: seconds since 1970, or as ISO 8601 has it


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
                if _empty(row[columns.action]):
                    raise ValueError(f"column {columns.action}: no action; leave out such rows")
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
                    at=number,
                    time_us=self._time(row),
                )
                known = not _empty(row[columns.reward])
                matured = Matured(decided, _reward(row, columns.reward)) if known else None
            yield decided
            if matured is None:
                self.counters[Skipped.UNLABELLED] += 1
            else:
                yield matured

    def _time(self, row: Row) -> int | None:
        said = None if self.columns.time is None else row[self.columns.time]
        return None if _empty(said) else microseconds(said)

    def _find_pmf(self) -> None:
        """Columns called pmf:ID are the pmf, unless the caller named others."""
        if not self.columns.pmf:
            found = {c.removeprefix(_PMF): c for c in self.header() if c.startswith(_PMF)}
            self.columns = replace(self.columns, pmf=found)

    def _context(self, header: list[str]) -> list[str]:
        """Names of the context's columns, once all that is needed is there."""
        columns = self.columns
        twice = sorted(name for name, times in Counter(header).items() if times > 1)
        if twice:
            raise LogFormatError(
                f"{self.name}: column {twice[0]!r} is there twice; rename one of them"
            )
        named = {columns.action, columns.reward, *columns.pmf.values(), *(columns.context or ())}
        named.update(name for name in (columns.key, columns.time) if name is not None)
        self._check(header)
        if columns.pmf and columns.actions and set(columns.actions) != set(columns.pmf):
            raise LogFormatError(f"{self.name}: Columns.pmf must have a column for each action")
        if columns.context is not None:
            return list(columns.context)
        return [name for name in header if name not in named | {columns.propensity}]

    def _check(self, header: list[str]) -> None:
        """Refuses a table that lacks a column."""
        columns = self.columns
        roles = {"action": columns.action}
        if columns.propensity is not None and not columns.pmf:
            roles["propensity"] = columns.propensity
        roles["reward"] = columns.reward
        roles |= {what: name for what in ("key", "time") if (name := getattr(columns, what))}
        missing = [what for what, name in roles.items() if name not in header]
        others = sorted({*columns.pmf.values(), *(columns.context or ())}.difference(header))
        if not missing and not others and (columns.pmf or columns.propensity is not None):
            return
        named = [name if (name := roles[what]) == what else f"{name} ({what})" for what in missing]
        what = ", ".join(named + others) or "a propensity or pmf"
        there = ", ".join(header[:_NAMED]) or "none"
        if len(header) > _NAMED:
            there += f" and {len(header) - _NAMED} more"
        found = f"{self.name}: no column {what}; it has {there}. Say which is what with --columns "
        found += (
            f"{','.join(f'{what}=NAME' for what in missing) or 'WHAT=NAME'} (in Python Columns)"
        )
        if "propensity" in missing or not (missing or others):
            found += "; without the probability of what was done nothing can be estimated"
        raise LogFormatError(found)

    def _ids(self) -> list[str]:
        columns = self.columns
        if columns.actions or columns.pmf:
            return list(columns.actions or columns.pmf)
        if not self._found:
            self._context(self.header())
            taken = (row[columns.action] for _, row in self.rows())
            self._found = sorted({str(action) for action in taken if not _empty(action)})
        return self._found

    def _features(self, row: Row, context: list[str], numeric: dict[str, bool]) -> Features:
        names, numbers, categories = [], [], []
        for name in context:
            value = row[name]
            if _empty(value):
                continue
            if isinstance(value, (list, dict)):
                raise ValueError(
                    f"column {name} holds {type(value).__name__}s: give each number a column of its own, or take the column out; in "
                    "Python Columns(context=[...]) says which are features"
                )
            if name not in numeric:
                numeric[name] = name not in self.columns.categorical and _is_number(value)
            if numeric[name]:
                names.append(name)
                if not _is_number(value):
                    raise ValueError(
                        f"column {name}: {value!r} is no number, as the first cell is; if they are names, say so: "
                        f"--columns categorical={name}, in Python Columns(categorical=[...])"
                    )
                numbers.append(_number(row, name))
            else:
                categories.append((name, str(value)))
        return encode(tuple(names), numbers, tuple(categories))


class CsvLog(TableLog):
    """A CSV file, or one with tabs where its name ends in .tsv; packed by gzip if need be."""

    what = "line"
    _ending = False  # whether the line that was read last may not be all there

    def header(self) -> list[str]:
        return next(self._cells(), (0, []))[1]

    def events(self) -> Iterator[Event]:
        """A last line without an end may have been cut within its last cell, which then says something else, or nothing."""
        try:
            yield from super().events()
        except LogFormatError:
            if not self._ending:
                raise
            self.cut_short()

    def rows(self) -> Iterator[tuple[int, Row]]:
        cells = self._cells()
        _, header = next(cells, (0, []))
        for number, row in cells:
            if len(row) != len(header):
                if len(row) < len(header) and self._ending:
                    self.cut_short()
                    return
                self._ending = False  # more cells than columns come of no cut
                raise LogFormatError(
                    f"{self.name}, line {number}: {len(row)} cells, {len(header)} columns; quote what has a separator in it"
                )
            yield number, dict(zip(header, row, strict=True))

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        """(number of its last line, cells) of each row that is not empty, from the header on."""
        delimiter = "\t" if ".tsv" in self.path.suffixes else ","
        reader = csv.reader(self._text(), strict=True, delimiter=delimiter)
        before = 0
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
                before = reader.line_num
        except csv.Error as error:
            if self._ending and reader.line_num == before + 1:
                self.cut_short()
                return
            raise LogFormatError(
                f"{self.name}, line {before + 1}: {error}; is a quote open there, or doubled?"
            ) from error

    def _text(self) -> Iterator[str]:
        self._ending = False
        for each in self.lines():
            self._ending = each.unfinished
            yield each.text


class ParquetLog(ParquetFile, TableLog):
    """A Parquet file of plain columns.

    Raises:
        LogFormatError: also where pyarrow is not installed.
    """

    def header(self) -> list[str]:
        return parquet_columns(self.name)

    def rows(self) -> Iterator[tuple[int, Row]]:
        return self.counted(parquet_rows(self.name))


def _empty(value: object) -> bool:
    return value is None or value == ""


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return "_" not in value  # Python's own way to write 1000 as 1_000
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _number(row: Row, name: str) -> float:
    value = row[name]
    if type(value) is float:  # most are
        return value
    if not _is_number(value):
        raise ValueError(f"column {name}: {value!r} is no number")
    return float(value)  # type: ignore[arg-type]  # a str, int or float by now


def _reward(row: Row, name: str) -> float:
    """A number, or whether it was a success."""
    value = row[name]
    return float(value) if isinstance(value, bool) else _number(row, name)
