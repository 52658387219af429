"""learner-01: how fast a learner goes through a log, from a real journal, in its own processor seconds.

    python -m benchmarks.learner --events 40000

Interactions are decisions whose windows close, most of them with a reward: what has to be read, joined, read again, and learned
for each is counted in. The joiner alone reads and joins the same records. `benchmarks.journals` says what is in the log; 7
actions and 18 named numbers in the context, as ImageSegments has, and windows of 10 s at 500 events a second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.journals import APP, World, write
from benchmarks.reports import result, table
from server.fold.fold import AppFold
from server.journal.store import JournalReader
from server.learning.artefacts import Artefacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.files import DataFolder
    from server.fold.joiner import Joined

# Records read at a time, as the learner does.
_BATCH = 500
# Times that each is run; the fastest counts, as other load only ever adds.
_TIMES = 3
# Goals that the project has set itself: interactions a second, and records a second.
GOALS = {"linucb": 15_000, "vw": 5_000}
JOINER_GOAL = 50_000


class JoinOnly(AppFold):
    """Reads and joins, and learns nothing."""

    def _learn(self, sequence: int, closed: Iterable[Joined]) -> None:
        for _ in closed:
            pass


def folded(folder: DataFolder, kind: type[AppFold] = AppFold) -> tuple[AppFold, float]:
    """(the fold of the whole journal, processor seconds that it took)."""
    with closing(JournalReader(folder.journal)) as reader:
        fold = kind(APP, reader.read, Artefacts(folder.artefacts(APP)).state)
        last = reader.bounds()[1]
        started = time.process_time()
        while fold.version < last:
            with reader.snapshot():
                for record in reader.records(fold.version, min(fold.version + _BATCH, last)):
                    fold.step(record)
        return fold, time.process_time() - started


def main() -> int:
    """Prints the figures; exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--vector", type=int, default=0, help="bytes of a vector in the context")
    arguments = parser.parse_args()
    rows, bars, figures = [], {}, {}
    for policy, goal in GOALS.items():
        with tempfile.TemporaryDirectory() as root:
            world = World({"type": policy}, vector_bytes=arguments.vector)
            folder = write(Path(root) / "data", world, arguments.events, close=True)
            folded(folder)  # compiles, and fills caches
            fold, took = min((folded(folder) for _ in range(_TIMES)), key=lambda run: run[1])
            joined, alone = min(
                (folded(folder, JoinOnly) for _ in range(_TIMES)), key=lambda run: run[1]
            )
        assert fold.joiner is not None
        learned = fold.joiner.counters["matured"]
        speed, records = learned / took, joined.version / alone
        rows.append([policy, f"{speed:,.0f}", f"{1e6 * took / learned:.1f}", f"{records:,.0f}"])
        bars[f"{policy}: {goal:,} interactions/s"] = speed >= goal
        figures[policy] = {"interactions_s": round(speed), "joiner_records_s": round(records)}
    bars[f"joiner alone: {JOINER_GOAL:,} records/s"] = (
        min(each["joiner_records_s"] for each in figures.values()) >= JOINER_GOAL
    )
    table(["", "interactions/s", "us each", "joiner alone, records/s"], rows)
    return result("learner-01", bars, events=arguments.events, **figures)


if __name__ == "__main__":
    sys.exit(main())
