"""Which model made a decision, where the log says it: more than one, and the log's policy may have learned while it logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.logs.rankd_table import ExportedRow

if TYPE_CHECKING:
    from simulator.logs.events import Decided

# Columns of rankd's Parquet, which someone may have left out.
_NAMED = frozenset({"epoch", "model_version"})


def deciding_model(decision: Decided) -> str | None:
    """Its name, which only compares; None where the log names none.

    rankd's own log and its exports name epoch and version, dsjson has `VWState.m`.
    """
    raw = decision.raw
    if raw is None or isinstance(raw, str):
        return None
    if isinstance(raw, ExportedRow):
        return _version(raw["epoch"], raw["model_version"]) if raw.keys() >= _NAMED else None
    if isinstance(raw, dict):
        state = raw.get("VWState")
        return str(state["m"]) if isinstance(state, dict) and "m" in state else None
    from server.fold.records import LogRecord  # protobuf, for which other formats have no use

    if not isinstance(raw, LogRecord):
        return None
    told = raw.decision()
    return _version(told.epoch, told.model_version)


def _version(epoch: object, records: object) -> str:
    return f"{epoch}.{records}"
