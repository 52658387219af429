"""What `rankd log export --format parquet` writes: one row for each slot that was learned, in learning order.

Actions and pmf are those that the slot had to choose from, in the order of the request; see `server.exports.parquet`. The
names of slots are part of `Decided.key`, since such a file does not say their numbers; `Decided.slate` is the event's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.logs.batches import parquet_columns, parquet_rows
from simulator.logs.events import Decided, LogFormatError, Matured, probability
from simulator.logs.lines import line
from simulator.logs.named import Named, encode_all
from simulator.logs.parquet_file import ParquetFile

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from simulator.logs.events import Event

# What other tables do not have.
COLUMNS = frozenset(
    {"app", "slot", "action", "reward", "actions", "pmf", "context", "action_features"}
)
# What is read besides.
_NEEDED = frozenset({"event_id", "propensity"})


class ExportedRow(dict[str, Any]):
    """A row of such a file, by column: a type of its own, since other tables may have columns of the same names."""


class RankdTableLog(ParquetFile):
    """A Parquet export of rankd: see `events.Log`. `Decided.raw` is an ExportedRow.

    Args:
        app: its rows only. May be left out where the file has one app.

    Raises:
        LogFormatError: pyarrow is not installed, or it is no such file; while iterating: a row is malformed, or there
            are several apps and none was chosen.
    """

    what = "row"

    def __init__(
        self,
        path: str | os.PathLike[str],
        app: str | None = None,
        reward_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(path, reward_range)
        self.app = app
        columns = parquet_columns(self.name)
        if not is_export(columns):
            raise LogFormatError(f"{self.name}: not a Parquet export of rankd")
        if missing := sorted(_NEEDED.difference(columns)):
            raise LogFormatError(
                f"{self.name}: a Parquet export of rankd without its column {', '.join(missing)}; export it again (rankd log export)"
            )

    def events(self) -> Iterator[Event]:
        app = self.app
        for number, row in self.counted(parquet_rows(self.name)):
            with line(self.name, number, self.what):
                if self.app is None and app not in (None, row["app"]):
                    raise ValueError(
                        f"apps {app!r} and {row['app']!r}: choose one with app= (--app)"
                    )
                app = row["app"] if self.app is None else app
                if row["app"] != app:
                    continue
                matured = Matured(_decided(row, number), float(row["reward"]))
            yield matured.decision
            yield matured


def is_export(columns: Sequence[str]) -> bool:
    """Whether a table with these columns is rankd's own."""
    return COLUMNS.issubset(columns)


def _decided(row: dict[str, Any], number: int) -> Decided:
    context = Named()
    _add(context, row["context"])
    features = []
    for text in row["action_features"]:
        named = Named()
        _add(named, text)
        features.append(named)
    slot = row["slot"]
    return Decided(
        f"{row['event_id']}/{slot}" if slot else row["event_id"],
        0,
        context.encode(),
        encode_all(row["actions"], features),
        row["actions"].index(row["action"]),
        np.array(row["pmf"]),
        probability(row["propensity"], "propensity"),
        raw=ExportedRow(row),
        at=number,
        slate=row["event_id"] if slot else "",
    )


def _add(named: Named, text: str) -> None:
    """Features as `server.exports.features.as_objects` writes them: {namespace: {name: value}}, or a list of such objects."""
    spaces = json.loads(text)
    if not isinstance(spaces, dict):
        raise ValueError(f"features are {text}: must be an object of namespaces")
    for namespace, objects in spaces.items():
        for one in objects if isinstance(objects, list) else [objects]:
            if not isinstance(one, dict):
                raise ValueError(
                    f"features of namespace {namespace!r} are {one!r}: must be an object"
                )
            named.json(one, namespace=namespace, private=False)
