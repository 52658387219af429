"""What the processes of a node report of themselves, read from their files and put together for `rankd status`."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rankd.v1 import admin_pb2 as api
from server.journal.store import JournalReader
from server.serving.alarms import Alarm, alarms
from server.serving.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from server.config import Config
    from server.files import DataFolder


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of one app."""

    status: dict[str, Any]  # the learner's own report
    records: int  # in the log
    lag_seconds: float  # of log time that the learner has not folded
    alarms: list[Alarm]
    board: dict[str, Any]  # what Redis tells of all nodes

    def reply(self, app: str, served_version: int) -> api.StatusReply:
        """As Admin.Status answers."""
        status, sums = self.status, self.status["sums"]
        counters = dict(status["counters"])
        following = status.get("following") or {}
        counters |= {
            f"{of}_messages": following[of] for of in ("dead", "copies") if of in following
        }
        low, high = status["reward_range"]
        report = status.get("policy_report") or {}
        return api.StatusReply(
            app=app,
            policy=status["policy"],
            mode=status["mode"],
            epoch=status["epoch"],
            log_records=self.records,
            folded_records=status["folded"],
            served_version=served_version,
            lag_records=max(0, self.records - status["folded"]),
            lag_seconds=self.lag_seconds,
            pending=status["pending"],
            counter_names=counters.keys(),
            counter_values=counters.values(),
            sum_names=sums.keys(),
            sum_values=sums.values(),
            reward_min=min(low, sums["r_min"]),
            reward_max=max(high, sums["r_max"]),
            alarms=[api.Alarm(id=alarm.id, text=alarm.text) for alarm in self.alarms],
            policy_names=report.keys(),
            policy_values=report.values(),
            drift=_drift(status.get("drift")),
            lease=status.get("lease", 0),
            owner=status.get("owner_folder", ""),
            nodes=[
                _node(app, folder, node, self.board["at"])
                for folder, node in sorted(self.board.get("nodes", {}).items())
            ],
        )


def read_report(folder: DataFolder, config: Config, app: str) -> Report:
    """Raises UnavailableError where the learner has never reported."""
    status, age = _load(folder.status(app))
    if status is None:
        raise UnavailableError("the learner has not reported yet; retry")
    if config.kafka.bootstrap and config.server.role != "server":
        # The learner's report tells this, too, but a learner that has no log to read does not report.
        following = _load(folder.following(app))[0]
        status["following"] = following or status.get("following")
    if "log_records" in status:  # several nodes share the log: the learner knows how long it is
        records, lag = status["log_records"], status["lag_seconds"]
    else:
        records, lag = _own_log(folder.journal, status["order_time_us"] or 0)
    shipped = _load(folder.shipped)[0] if config.kafka.bootstrap else None
    board, board_age = _load(folder.board) if config.redis.url else (None, 0.0)
    found = list(alarms(status, age, lag, shipped, board, board_age))
    return Report(status, records, lag, found, board or {})


def _drift(found: dict[str, Any] | None) -> api.Drift | None:
    names = api.Drift.DESCRIPTOR.fields_by_name
    return None if found is None else api.Drift(**{name: found[name] for name in names})


def _own_log(journal: Path, folded_us: int) -> tuple[int, float]:
    """(records in this node's log, seconds of log time that are not folded yet)."""
    with closing(JournalReader(journal)) as reader:
        last = reader.bounds()[1]
        last_us = reader.read(last).log_time_us if last else 0
        return last, max(0, last_us - folded_us) / 1e6


def _load(path: Path) -> tuple[dict[str, Any] | None, float]:
    """(the report in that file, seconds since it was written); None where there is none."""
    try:
        report: dict[str, Any] = json.loads(path.read_bytes())
        return report, max(0.0, time.time() - path.stat().st_mtime)
    except (FileNotFoundError, ValueError):
        return None, 0.0


def _node(app: str, folder: str, node: dict[str, Any], at: float) -> api.NodeStatus:
    """
    Args:
        node: what it says of itself.
        at: when the board was read, seconds since 1970.
    """
    shipped = node.get("shipped") or {}
    lease, epoch, version = node["models"].get(app, (0, 0, 0))
    return api.NodeStatus(
        folder=folder,
        host=node["host"],
        role=node["role"],
        silent_seconds=max(0.0, at - node["at"]),
        journal_records=node["journal"],
        unshipped_records=shipped.get("lag_records", 0),
        unshipped_seconds=shipped.get("lag_seconds", 0.0),
        model_lease=lease,
        model_epoch=epoch,
        model_version=version,
    )
