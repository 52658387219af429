"""ope-03: ten million rows from a Parquet file through `rankd replay`: memory and rows a second.

Why: a log of a month is larger than the machine that one looks at it with.

What: a log of ten actions with two numbers and a category as context, written as Parquet; `rankd replay` then reads it in a process of its
own, as a user would start it, and its greatest resident memory is what the system says of that process. Four runs: a frozen
and a learning policy, each on a log with propensities alone and on one with whole pmfs (`pmf:ID` columns). Estimators are those that the command
has by default, dr with its reward model among them.

Bar: at most 1 GB (10^9 bytes) each. Time has none; rows a second hold for the whole command, starting and estimating included.
Exit code 1 if the bar is missed.

    python -m benchmarks.replay_memory                        # two to four hours
    python -m benchmarks.replay_memory --rows 1000000         # a tenth; the bar then says little
    python -m benchmarks.replay_memory --only "uniform, pmfs"
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import ONE_THREAD, ROOT
from benchmarks.reports import result, table

ROWS = 10_000_000
MOST = 1e9  # bytes
_ACTIONS = 10
_BLOCK = 500_000  # rows written at once
_RANKD = [sys.executable, "-c", "from rankd.cli import app; app()"]


@dataclass(frozen=True, slots=True)
class Run:
    """One call of the command."""

    label: str
    policy: str
    estimand: str
    pmfs: bool


RUNS = (
    Run("uniform, propensities", "uniform", "frozen", pmfs=False),
    Run("uniform, pmfs", "uniform", "frozen", pmfs=True),
    Run("linucb, propensities", "linucb", "trained_on_log", pmfs=False),
    Run("linucb, pmfs", "linucb", "trained_on_log", pmfs=True),
)


def write(path: Path, rows: int, *, pmfs: bool) -> None:
    """A log: clicks of 10 to 28%, uniform draws without pmfs, draws from pmfs of at least .05 with them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    ids = np.array([f"a{k}" for k in range(_ACTIONS)])
    countries = np.array(["NL", "DE", "FR", "BE"])
    writer = None
    for start in range(0, rows, _BLOCK):
        n = min(_BLOCK, rows - start)
        pmf = np.full((n, _ACTIONS), 1 / _ACTIONS)
        if pmfs:
            pmf = 0.5 * rng.dirichlet(np.ones(_ACTIONS), n) + 0.5 / _ACTIONS
        chosen = (pmf.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, _ACTIONS - 1)
        columns = {
            "age": rng.normal(40, 10, n),
            "visits": rng.poisson(3.0, n).astype(np.float64),
            "country": countries[rng.integers(0, 4, n)],
            "action": ids[chosen],
            "propensity": pmf[np.arange(n), chosen],
            "reward": (rng.random(n) < 0.1 + 0.02 * chosen).astype(np.float64),
        }
        if pmfs:
            columns |= {f"pmf:{name}": pmf[:, k] for k, name in enumerate(ids)}
        block = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, block.schema)
        writer.write_table(block)
    if writer is not None:
        writer.close()


def replay(path: Path, run: Run, rows: int) -> dict[str, Any]:
    """What a process of its own says, and takes: seconds, rows a second, peak_bytes."""
    arguments = ["replay", str(path), "--policy", run.policy, "--estimand", run.estimand]
    arguments += ["--reward-range", "0", "1", "--json"]
    begun = time.perf_counter()
    child = subprocess.Popen(
        [*_RANKD, *arguments],
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{run.label}: rankd replay ended with {child.returncode}")
    policy = json.loads(said)["policies"][0]
    if policy["n"] != rows:
        raise SystemExit(f"{run.label}: {policy['n']} rows were replayed of {rows}")
    return {
        "seconds": round(seconds, 1),
        "rows_per_second": round(rows / seconds),
        "peak_bytes": usage.ru_maxrss * 1024,  # Linux counts in KiB
        "ips": policy["estimators"]["ips"]["value"],
    }


def main() -> int:
    """Prints the table; exit code 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--only", default="", help="labels that contain this")
    args = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for run in (run for run in RUNS if args.only in run.label):
            path = Path(folder) / f"{'pmfs' if run.pmfs else 'propensities'}.parquet"
            if not path.exists():
                print(f"writing {args.rows:,} rows ...", file=sys.stderr)
                # In a process of its own: what this one has ever taken would count as the command's, as exec keeps the peak.
                writer = get_context("spawn").Process(
                    target=write, args=(path, args.rows), kwargs={"pmfs": run.pmfs}
                )
                writer.start()
                writer.join()
                if writer.exitcode:
                    raise SystemExit(f"{path.name} could not be written")
            found[run.label] = replay(path, run, args.rows)
            print(f"{run.label}: {found[run.label]}", file=sys.stderr)
    table(
        ["", "rows/s", "seconds", "peak MB"],
        [
            [
                label,
                f"{got['rows_per_second']:,}",
                got["seconds"],
                f"{got['peak_bytes'] / 1e6:,.0f}",
            ]
            for label, got in found.items()
        ],
    )
    bars = {
        f"{label}: {got['peak_bytes'] / 1e9:.2f} GB, at most {MOST / 1e9:.0f}": got["peak_bytes"]
        <= MOST
        for label, got in found.items()
    }
    return result("ope-03", bars, rows=args.rows, runs=found)


if __name__ == "__main__":
    sys.exit(main())
