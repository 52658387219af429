"""memory-01: what a decision takes in a learner's memory while its window is open, whatever its size.

    python -m benchmarks.pending --pending 1000000

Journals of decisions without rewards, of 1.5 kB and of 20 kB each, are folded by learners in processes of their own, checkpoints
and all. A pending decision's bytes are what the resident memory grows by from a fifth of them to all, so that
neither the interpreter nor what is kept for a few thousand decisions counts. Then the process is started again
from its checkpoint.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.journals import World, learner_app, write
from benchmarks.reports import result, table
from server.files import DataFolder
from server.journal.store import JournalReader

if TYPE_CHECKING:
    from collections.abc import Callable

_BATCH = 500
# Bytes of a vector in the context that make payloads of 1.5 and of 20 kB.
SMALL, LARGE = 1_000, 19_500
# So many pending decisions have large payloads: 4 GB of journal.
_LARGE = 200_000
# Goals that the project has set itself: bytes for a pending decision, and of a process with a million.
GOAL_EACH, GOAL_RESIDENT = 300, 0.5e9


def world(vector_bytes: int) -> World:
    """Decisions that come fast and wait for six hours."""
    return World(
        {"type": "linucb"},
        vector_bytes=vector_bytes,
        events_per_second=5_000,
        reward_after=0,
        wait=6 * 3600,
    )


def resident(field: str = "VmRSS") -> int:
    """Bytes of memory that this process has, or had at its highest (VmHWM)."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{field}:")[1].split()[0])


def fold(root: Path, vector_bytes: int) -> dict[str, float]:
    """Folds the journal from where its newest checkpoint stands, and writes one."""
    folder = DataFolder(root)
    with closing(JournalReader(folder.journal)) as reader:
        before = resident()
        app = learner_app(folder, world(vector_bytes), reader)
        last = reader.bounds()[1]
        at = {0: resident()}
        while app.fold.version < last:
            with reader.snapshot():
                for record in reader.records(app.fold.version, app.fold.version + _BATCH):
                    app.step(record)
            if app.fold.version >= last // 5 and len(at) == 1:
                at[app.fold.joiner.open if app.fold.joiner else 0] = resident()
        assert app.fold.joiner is not None
        pending, now = app.fold.joiner.open, resident()
        if app.fold.due():
            app.checkpoints.save((pieces := app.fold.pieces()).__next__(), pieces)
        fifth = max(at)
        return {
            "pending": pending,
            "before": before,
            "resident": now,
            "peak": resident("VmHWM"),
            "each": (now - at[fifth]) / (pending - fifth) if pending > fifth else 0.0,
        }


def alone(what: Callable[..., dict[str, float]], *arguments: object) -> dict[str, float]:
    """Runs it in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(what, *arguments).result()


def main() -> int:
    """Prints the figures; exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pending", type=int, default=1_000_000)
    arguments = parser.parse_args()
    rows, figures = [], {}
    for vector_bytes, most in ((SMALL, arguments.pending), (LARGE, _LARGE)):
        count = min(most, arguments.pending)
        with tempfile.TemporaryDirectory() as root:
            folder = write(Path(root) / "data", world(vector_bytes), count)
            size = folder.journal.stat().st_size / count
            found = alone(fold, folder.root, vector_bytes)
            again = alone(fold, folder.root, vector_bytes)
        assert found["pending"] == again["pending"] == count
        mega = [found["resident"], found["peak"], again["resident"], again["peak"]]
        rows.append(
            [
                f"{size:,.0f} B",
                f"{count:,}",
                f"{found['each']:.0f}",
                *(f"{x / 1e6:.0f}" for x in mega),
            ]
        )
        figures[f"{size / 1e3:.1f} kB"] = {
            "pending": count,
            "bytes_each": round(found["each"]),
            "resident_mb": [round(x / 1e6) for x in mega],
        }
        if vector_bytes == SMALL:
            million = max(found["resident"], again["resident"])
            each = found["each"]
        each = max(each, found["each"])
    heads = ["record", "pending", "B each", "MB resident", "peak", "restarted", "peak"]
    table(heads, rows)
    bars = {
        f"a pending decision: at most {GOAL_EACH} B": each <= GOAL_EACH,
        f"resident with {arguments.pending:,}: at most {GOAL_RESIDENT / 1e6:.0f} MB": million
        <= GOAL_RESIDENT,
    }
    return result("memory-01", bars, records=figures)


if __name__ == "__main__":
    sys.exit(main())
