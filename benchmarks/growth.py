"""growth-01: what a log of ten million records costs that one of ten thousand does not: a decision, a record, a restart.

    python -m benchmarks.growth              # a million records
    python -m benchmarks.growth --full       # ten million: some 6 GB of disk, an hour on a busy machine

Two journals of the same world (5 actions, 18 numbers) are folded by the learner, checkpoints and all. What a record costs is
measured in blocks of ten thousand, the short log and a block of the long one in turn, so that other load
falls on both. Then both learners start again, from their newest checkpoint, and the models that each has
published decide the same questions, again in turn. All in processor seconds; medians.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import structlog

from benchmarks.journals import APP, World, learner_app, write
from benchmarks.reports import result, table
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.decide import Question, decide
from server.fold.envelope import unseal
from server.fold.settings import FoldSettings
from server.journal.store import JournalReader

if TYPE_CHECKING:
    from policies import Model
    from server.files import DataFolder
    from server.learning.app import LearnerApp

# 50 events a second, so that few of the short log's windows are still open at its end.
WORLD = World({"type": "linucb"}, actions=5, events_per_second=50, wait=1)
SHORT, LONG, FULL = 10_000, 1_000_000, 10_000_000
# Blocks of the long log that are timed, and restarts and rounds of decisions of each.
_BLOCKS, _RESTARTS, _ROUNDS = 40, 15, 40
# Records after the newest checkpoint that a restart has to fold again; fewer than `checkpoint_every`.
_TAIL = 2_000
_QUESTIONS = 500
_BATCH = 500
# Goals that the project has set itself: by how much more each may cost.
GOALS = {"Rank": 1.05, "record": 1.10, "restart": 1.20}


class Log:
    """A journal, and a learner that goes through it."""

    def __init__(self, root: Path, records: int) -> None:
        self.records = records
        # An event is two records, and each second has a Tick.
        per_second = 2 * WORLD.events_per_second + 1
        seconds = -(-(records + _TAIL) // per_second) + 2
        started = time.monotonic()
        self.folder = write(root, WORLD, seconds * WORLD.events_per_second)
        print(f"wrote {records:,} records in {time.monotonic() - started:.0f} s", flush=True)
        self.reader = JournalReader(self.folder.journal)

    def app(self) -> LearnerApp:
        return learner_app(self.folder, WORLD, self.reader)

    def fold(self, app: LearnerApp, through: int) -> float:
        """Folds up to there; returns the processor seconds that it took."""
        started = time.process_time()
        while app.fold.version < through:
            with self.reader.snapshot():
                last = min(app.fold.version + _BATCH, through)
                for record in self.reader.records(app.fold.version, last):
                    app.step(record)
        return time.process_time() - started

    def keep(self, app: LearnerApp) -> None:
        """Checkpoint and model, at the end of what is folded."""
        app.checkpoints.save(app.fold.checkpoint())
        app.publish(hurried=False)

    def restart(self) -> float:
        """Processor seconds until a learner that starts again has caught up."""
        started = time.process_time()
        app = self.app()
        assert app.fold.version == self.records, "not resumed where the checkpoint stands"
        self.fold(app, self.records + _TAIL)
        return time.process_time() - started

    def served(self) -> tuple[Model, FoldSettings, int]:
        """(the published model, its settings, bytes of the file)."""
        data = self.folder.snapshot(APP).read_bytes()
        snapshot = unseal(internal_pb2.Snapshot, data)
        settings = FoldSettings.model_validate_json(snapshot.config_json)
        return settings.spec().load(snapshot.policy), settings, len(data)

    def questions(self) -> list[tuple[str, Question]]:
        decisions = (r for r in self.reader.records(0) if r.kind == pb.KIND_DECISION)
        found = [next(decisions) for _ in range(_QUESTIONS)]
        return [(record.event_id, Question.of(record.decision())) for record in found]


def costs_of_records(short: Log, long: Log) -> tuple[list[float], list[float], float]:
    """(seconds for a record of the short log, of blocks of the long one, of all of the long one)."""
    few, many, whole = [], [], 0.0
    app = long.app()
    step = long.records // _BLOCKS
    for _ in range(_BLOCKS):
        begin = app.fold.version
        whole += long.fold(app, begin + step - SHORT)
        took = long.fold(app, begin + step)
        many.append(took / SHORT)
        whole += took
        again = short.app()
        few.append(short.fold(again, short.records) / short.records)
        for path in short.folder.checkpoints(APP).glob("*"):
            path.unlink()  # or else the next begins there
    long.keep(app)
    short.keep(again)
    return few, many, whole / long.records


def costs_of_decisions(short: Log, long: Log) -> tuple[list[float], list[float]]:
    questions = short.questions()
    found: tuple[list[float], list[float]] = ([], [])
    models = [log.served() for log in (short, long)]
    for _ in range(_ROUNDS):
        for seconds, (model, settings, _) in zip(found, models, strict=True):
            started = time.process_time()
            for event_id, question in questions:
                decide(question, [""], event_id, model, settings)
            seconds.append((time.process_time() - started) / len(questions))
    return found


def main() -> int:
    """Prints the figures; exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=LONG, help="of the long log")
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} records")
    parser.add_argument("--folder", type=Path, help="where to put the journals; temporary")
    arguments = parser.parse_args()
    # Each restart would say that it has resumed.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    records = FULL if arguments.full else arguments.records
    with tempfile.TemporaryDirectory(dir=arguments.folder) as root:
        short, long = Log(Path(root) / "short", SHORT), Log(Path(root) / "long", records)
        with closing(short.reader), closing(long.reader):
            few, many, whole = costs_of_records(short, long)
            restarts = [(short.restart(), long.restart()) for _ in range(_RESTARTS)]
            ranks = costs_of_decisions(short, long)
            sizes = [log.served()[2] for log in (short, long)]
            disk = _size(long.folder)
    pairs = {
        "Rank": (median(ranks[0]), median(ranks[1])),
        "record": (median(few), median(many)),
        "restart": (median(a for a, _ in restarts), median(b for _, b in restarts)),
    }
    rows = [
        [what, f"{1e6 * a:,.1f}", f"{1e6 * b:,.1f}", f"{b / a:.3f}"]
        for what, (a, b) in pairs.items()
    ]
    rows.append(["model, bytes", *map(str, sizes), f"{sizes[1] / sizes[0]:.3f}"])
    table(["us", f"{SHORT:,} records", f"{records:,} records", "ratio"], rows)
    ratios = {what: b / a for what, (a, b) in pairs.items()}
    bars = {f"{what}: at most {goal:.2f}": ratios[what] <= goal for what, goal in GOALS.items()}
    return result(
        "growth-01",
        bars,
        records=records,
        ratios={what: round(ratio, 4) for what, ratio in ratios.items()},
        us={what: [round(1e6 * x, 2) for x in pair] for what, pair in pairs.items()},
        whole_us_per_record=round(1e6 * whole, 2),
        model_bytes=sizes,
        journal_mb=round(disk / 1e6),
    )


def _size(folder: DataFolder) -> int:
    return sum(path.stat().st_size for path in folder.root.glob("journal.sqlite*"))


if __name__ == "__main__":
    sys.exit(main())
