"""Logs to replay and to estimate from, whatever wrote them: `open_log` finds out what it is given.

for event in open_log("log.json"):
    ...  # a Decided, or a Matured with its reward
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.logs.arrays import ArraysLog, read_npz
from simulator.logs.dsjson import DsjsonLog
from simulator.logs.events import Decided, Event, Log, LogFormatError, Matured, Skipped
from simulator.logs.lines import head, is_packed
from simulator.logs.tabular import Columns, CsvLog, ParquetLog
from simulator.logs.vw_text import VwTextLog

if TYPE_CHECKING:
    from server.fold.verify import LogSource

__all__ = [
    "ArraysLog",
    "Columns",
    "CsvLog",
    "Decided",
    "DsjsonLog",
    "Event",
    "Log",
    "LogFormatError",
    "Matured",
    "ParquetLog",
    "Skipped",
    "VwTextLog",
    "open_log",
]

FORMATS = """a file of
  rankd's JSONL or Parquet export (rankd log export),
  dsjson, the log of VW's decision service (begins with "{"),
  VW's text for --cb_adf ("shared |...", "0:cost:probability |..."),
  a table (.csv, .tsv, .parquet) with columns for action, propensity and reward,
  arrays (.npz) called context, action, reward, pscore;
or such arrays by name; or a rankd log that is open already"""

# How much of a file is looked at to find out what it is.
_HEAD = 4_096
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # its two byte order marks
_VW_LINE = re.compile(rb"\s*(shared\s|ccb\s|\S+:\S+:\S+\s)?[^|,{]*\|")


def open_log(
    source: str | os.PathLike[str] | Mapping[str, object] | LogSource,
    *,
    app: str | None = None,
    columns: Columns | None = None,
    reward_range: tuple[float, float] | None = None,
) -> Log:
    """The log in a file, in arrays, or in an opened log of rankd.

    Args:
        source: a path; arrays by name (see `arrays`); or what `rankd.commands.sources` opens.
        app: which app of a log of rankd; may be left out where there is one.
        columns: which column of a table is what.
        reward_range: (lowest, highest) reward that can be. A log of rankd says it itself.

    Raises:
        LogFormatError: it is nothing that can be read. The message names the formats.
        OSError: the file cannot be opened.
    """
    if isinstance(source, Mapping):
        return ArraysLog(source, reward_range)
    if not isinstance(source, (str, os.PathLike)):
        from simulator.logs.rankd_log import (
            RankdLog,
        )  # the fold loads protobuf, for which other formats have no use

        return RankdLog(source, app)
    path = Path(source)
    if path.is_dir() or "://" in str(source):
        raise LogFormatError(
            f"{source}: data folders and topics are opened by the rankd command; in Python give the opened log. "
            f"Else give {FORMATS}"
        )
    begin = head(path, _HEAD)
    if not begin:
        raise LogFormatError(f"{path}: the file is empty. Give {FORMATS}")
    if begin.startswith(_UTF_16):
        raise LogFormatError(
            f"{path}, line 1: UTF-16 text; convert it, as by `iconv -f UTF-16 -t UTF-8`"
        )
    return _file(path, begin, app, columns, reward_range)


def _file(
    path: Path,
    begin: bytes,
    app: str | None,
    columns: Columns | None,
    reward_range: tuple[float, float] | None,
) -> Log:
    """The log in a file that begins with `begin`. What it says counts more than its name."""
    own, table, arrays = (
        begin.startswith(mark) for mark in (b'{"rankd_export":', b"PAR1", b"PK\x03\x04")
    )
    if (own or table or arrays) and is_packed(path):
        raise LogFormatError(
            f"{path}: only text is read as gzip has packed it; unpack it first: gunzip"
        )
    if own:
        return _export(path, app)
    if table:
        from simulator.logs.batches import parquet_columns
        from simulator.logs.rankd_table import RankdTableLog, is_export

        if columns is None and is_export(parquet_columns(str(path))):
            return RankdTableLog(path, app, reward_range)
        return ParquetLog(path, columns, reward_range)
    if arrays:
        return read_npz(path, reward_range)
    if {".csv", ".tsv"} & set(path.suffixes) or columns is not None:
        return CsvLog(path, columns, reward_range)
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{") or (b"\n{" in text and b'"_label' in text):
        return DsjsonLog(path, reward_range)
    if _VW_LINE.match(text.partition(b"\n")[0]):
        return VwTextLog(path, reward_range)
    raise LogFormatError(f"{path}: unknown format. Give {FORMATS}")


def _export(path: Path, app: str | None) -> Log:
    from server.exports.jsonl import ExportSource
    from server.fold.records import LogError
    from simulator.logs.rankd_log import RankdLog

    try:
        return RankdLog(ExportSource(path), app, str(path))
    except LogError as error:
        raise LogFormatError(str(error)) from error
