"""The same decisions in every format that is read, for tests that ask the same of all of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from server.exports.jsonl import write_jsonl
from simulator.logs.arrays import ArraysLog
from simulator.logs.dsjson import DsjsonLog
from simulator.logs.rankd_log import RankdLog
from simulator.logs.rankd_table import RankdTableLog
from simulator.logs.tabular import CsvLog, ParquetLog
from simulator.logs.vw_text import VwTextLog
from tests.exports.memory_log import MemoryLog, settings

if TYPE_CHECKING:
    from collections.abc import Callable

IDS = ("a", "b")


@dataclass
class Row:
    """One decision between a and b, and its reward."""

    key: str
    action: str = "a"
    mu: dict[str, float] = field(default_factory=lambda: {"a": 0.25, "b": 0.75})
    reward: float = 0.5
    city: str = "Zürich"
    propensity: float | None = None
    """What is logged of it; None: as `mu` has it."""

    @property
    def p(self) -> float:
        return self.mu.get(self.action, 0.5) if self.propensity is None else self.propensity


def rows(n: int = 6) -> list[Row]:
    return [Row(f"e{i}", "ab"[i % 2], reward=i / 4) for i in range(n)]


@dataclass(frozen=True)
class Format:
    """How one format is written."""

    name: str
    suffix: str
    reader: type
    write: Callable[[list[Row]], bytes]
    rows_of: Callable[[bytes], list[bytes]] | None = None
    """The bytes of each row, for text; what comes before the first row is part of it."""
    pmf: bool = True
    keys: bool = False
    place: str = "line"

    @property
    def text(self) -> bool:
        return self.rows_of is not None


def _dsjson(given: list[Row]) -> bytes:
    return b"".join(
        json.dumps(
            {
                "_label_cost": -row.reward,
                "_label_probability": row.p,
                "_labelIndex": IDS.index(row.action) if row.action in IDS else 7,
                "EventId": row.key,
                "a": [1, 2],
                "c": {"city": row.city, "_multi": [{"_tag": name} for name in IDS]},
                "p": [row.mu[name] for name in IDS],
            },
            ensure_ascii=False,
        ).encode()
        + b"\n"
        for row in given
    )


def _vw(given: list[Row]) -> bytes:
    examples = []
    for row in given:
        lines = [f"shared |u city={row.city}"]
        for name in IDS:
            label = f"0:{-row.reward}:{row.p} " if name == row.action else ""
            lines.append(f"{label}'{name} |i name={name}")
        if row.action not in IDS:
            lines[1] = f"9 {lines[1]}"
        examples.append("\n".join([*lines, "\n"]))
    return "".join(examples).encode()


def _table(given: list[Row], pmf: bool) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {
        "city": [row.city for row in given],
        "key": [row.key for row in given],
        "action": [row.action for row in given],
    }
    if pmf:
        found |= {f"pmf:{name}": [row.mu[name] for row in given] for name in IDS}
    found["propensity"] = [row.p for row in given]
    found["reward"] = [row.reward for row in given]
    return found


def _csv(delimiter: str = ",", pmf: bool = True) -> Callable[[list[Row]], bytes]:
    def write(given: list[Row]) -> bytes:
        columns = _table(given, pmf)
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        return out.getvalue().encode()

    return write


def _written(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def _parquet(given: list[Row]) -> bytes:
    return _written(pa.table(_table(given, pmf=True)))


def _rankd_table(given: list[Row]) -> bytes:
    return _written(
        pa.table(
            {
                "event_id": [row.key for row in given],
                "app": ["shop" for _ in given],
                "slot": ["" for _ in given],
                "action": [row.action for row in given],
                "propensity": [row.p for row in given],
                "reward": [row.reward for row in given],
                "actions": [list(IDS) for _ in given],
                "pmf": [[row.mu[name] for name in IDS] for row in given],
                "context": [json.dumps({"": {"city": row.city}}) for row in given],
                "action_features": [["{}", "{}"] for _ in given],
            }
        )
    )


def _rankd(given: list[Row]) -> bytes:
    """A log that the fold wrote, with its probabilities and rewards exchanged."""
    log = MemoryLog(settings("shop", policy={"type": "uniform"}, always_sent=True, reward_max=2.0))
    for row in given:
        log.rank(row.key, IDS)
        log.reward(row.key, 0.0)
    out = io.BytesIO()
    write_jsonl(log, out)
    by_key = {row.key: row for row in given}
    lines = []
    for line in map(json.loads, out.getvalue().splitlines()):
        of = by_key.get(line.get("event_id", ""))
        if of is not None and line["kind"] == "KIND_DECISION":
            chosen = IDS.index(of.action) if of.action in IDS else 7
            mu = dict(of.mu)
            if of.propensity is not None:
                mu[of.action] = of.propensity
            pmf = [mu[name] for name in IDS]
            line["payload"] |= {"pmf": pmf, "ranking": [chosen], "slot_probabilities": [of.p]}
        elif of is not None and line["kind"] == "KIND_REWARD":
            line["payload"]["value"] = of.reward
        lines.append(json.dumps(line) + "\n")
    return "".join(lines).encode()


def _arrays(given: list[Row]) -> bytes:
    out = io.BytesIO()
    np.savez(
        out,
        context=np.ones((len(given), 1)),
        action=[IDS.index(row.action) if row.action in IDS else 7 for row in given],
        reward=[row.reward for row in given],
        pscore=[row.p for row in given],
        pi_b=[[row.mu[name] for name in IDS] for row in given],
    )
    return out.getvalue()


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def _after_header(data: bytes) -> list[bytes]:
    header, first, *rest = _lines(data)
    return [header + first, *rest]


def _examples(data: bytes) -> list[bytes]:
    return [part + b"\n\n" for part in data.split(b"\n\n")[:-1]]


FORMATS = [
    Format("dsjson", ".json", DsjsonLog, _dsjson, _lines, keys=True),
    Format("vw text", ".vw", VwTextLog, _vw, _examples, pmf=False),
    Format("csv", ".csv", CsvLog, _csv(), _after_header, keys=True),
    Format("csv, propensity only", ".csv", CsvLog, _csv(pmf=False), _after_header, pmf=False),
    Format("tsv", ".tsv", CsvLog, _csv("\t"), _after_header, keys=True),
    Format("parquet", ".parquet", ParquetLog, _parquet, keys=True, place="row"),
    Format("rankd parquet", ".parquet", RankdTableLog, _rankd_table, keys=True, place="row"),
    Format("rankd jsonl", ".jsonl", RankdLog, _rankd, place="decision"),
    Format("npz", ".npz", ArraysLog, _arrays, place="row"),
]


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
