"""What was learned as a Parquet file: one row for each slot, for pandas, DuckDB, Spark."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rankd.v1 import log_pb2 as pb
from server.exports.features import action_features, as_objects, context_features
from server.exports.rows import rows
from server.fold.settings import MODES

if TYPE_CHECKING:
    from typing import BinaryIO

    from server.exports.rows import SlotRow
    from server.fold.verify import LogSource

# Rows in one row group: at 20 actions with features some 10 MB in memory.
_GROUP = 5_000
_MODE_NAMES = {number: name for name, number in MODES.items()}

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class ParquetMissingError(Exception):
    """pyarrow is not installed."""


def write_parquet(source: LogSource, out: BinaryIO, app: str | None = None) -> int:
    """Writes the interactions of one app, or of all, each app's in learning order; returns the number of rows.

    Raises:
        ParquetMissingError: pyarrow is not installed.
        LogError: the log cannot be read.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ParquetMissingError("Parquet needs pyarrow: pip install 'rankd[parquet]'") from error
    schema = pa.schema(
        [
            ("event_id", pa.string()),
            ("decision_id", pa.string()),
            ("time", pa.timestamp("us", tz="UTC")),  # when it was decided
            ("app", pa.string()),
            ("slot", pa.string()),  # empty: the decision has no slots
            ("action", pa.string()),
            ("propensity", pa.float64()),
            ("reward", pa.float64()),
            ("actions", pa.list_(pa.string())),  # those that the slot had to choose from
            ("pmf", pa.list_(pa.float64())),  # aligned with actions
            ("context", pa.string()),  # JSON: {namespace: {name: value}}
            ("action_features", pa.list_(pa.string())),  # JSON likewise, aligned with actions
            ("mode", pa.string()),
            ("epoch", pa.uint64()),
            ("model_version", pa.uint64()),
        ]
    )
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        group: list[dict[str, Any]] = []

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(group, schema))
            group.clear()

        for name in source.apps() if app is None else [app]:
            for row in rows(source, name):
                group.append(_row(name, row))
                count += 1
                if len(group) == _GROUP:
                    flush()
        if group:
            flush()
    return count


def _row(app: str, row: SlotRow) -> dict[str, Any]:
    record, decision = row.record, row.decision
    actions = [decision.action_ids[k] for k in row.actions]
    features = action_features(decision)
    return {
        "event_id": record.event_id,
        "decision_id": record.decision_id,
        "time": record.origin_us,
        "app": app,
        "slot": row.slot,
        "action": actions[row.chosen],
        "propensity": row.pmf[row.chosen],
        "reward": row.reward,
        "actions": actions,
        "pmf": row.pmf,
        "context": _encode(as_objects(context_features(decision))),
        "action_features": [_encode(as_objects(features[k])) for k in row.actions],
        "mode": _MODE_NAMES.get(decision.mode, pb.Mode.Name(decision.mode)),
        "epoch": decision.epoch,
        "model_version": decision.model_version,
    }
