"""serve-01: what a decision costs the service, by call, number of actions and kind of features, above a bare echo and for the journal.

    python -m benchmarks.serve
    python -m benchmarks.serve --part unary --kind dense --actions 10 --actions 50

The steady figure is processor time for each decision, summed over the processes; rates and latencies stand beside it. Three
targets take turns: a bare echo, the service without its journal, the service. See benchmarks/README.md for the parts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import h2load, serve_targets
from benchmarks.environments import ROOT
from benchmarks.reports import result, table
from benchmarks.serve_latency import commit_ms
from benchmarks.serve_runs import CONNECTIONS, Call, Cost, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.serve_targets import Journalled, Target

PARTS = ("unary", "batch", "stream", "latency", "workers")
KINDS = ("dense", "sparse", "shared")
ACTIONS = (10, 50, 100, 500)
# The goals that the project has set itself, for dense features: microseconds by number of actions.
ABOVE_ECHO = {10: 100.0, 50: 150.0}
JOURNAL = {10: 100.0, 50: 180.0}
IN_BATCH = {10: 120.0, 50: 200.0}
STREAM = 0.6  # a streamed message's transport, as a share of a call's
LATE_MS = 10.0  # above a commit, at the 99th percentile
WORKERS = 0.9  # decisions in a processor second with two workers, as a share of those with one
LATENCY_ACTIONS = 100
WORKERS_ACTIONS = 10
# Connections of the load on one worker and on two: as many for each of the two as the other parts have for their one.
_WORKERS_CONNECTIONS = 2 * CONNECTIONS
# Seconds at half of capacity, and of commits before and after.
_STEADY = 10.0
_COMMITS = 3.0
_HEADS = [
    "echo",
    "worker",
    "above",
    "journal",
    "writer",
    "learner",
    "all",
    "per-s",
    "p50-ms",
    "p99-ms",
]


@dataclass
class Report:
    """What has been found so far."""

    bars: dict[str, bool] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)

    def bar(self, what: str, value: float, limit: float, at_most: bool = True) -> None:
        """Notes whether a goal is met."""
        sign = "<=" if at_most else ">="
        met = value <= limit if at_most else value >= limit
        self.bars[f"{what}: {value:.3g} {sign} {limit:g}"] = met

    def cell(self, kind: str, actions: int, call: str, found: dict[str, Cost]) -> None:
        """Notes and judges one measurement."""
        name = f"{call} {kind} K={actions}"
        self.figures[name] = {target: asdict(cost) for target, cost in found.items()}
        echo, bare, full = found.get("echo"), found["no journal"], found["rankd"]
        above = bare.total - echo.total if echo else None
        journal = full.answering - bare.total
        shown = (
            *(echo.total if echo else None, bare.total, above, journal),
            *(full.us["writer"], full.us["learner"], full.total, full.rate),
        )
        row = [name, *("" if value is None else f"{value:.0f}" for value in shown)]
        self.rows.append([*row, f"{full.p50_ms:.1f}", f"{full.p99_ms:.1f}"])
        table(["", *_HEADS], self.rows[-1:])
        if kind != "dense":
            return
        if call == "unary" and actions in ABOVE_ECHO and above is not None:
            self.bar(f"{name}: us above the echo", above, ABOVE_ECHO[actions])
            self.bar(f"{name}: us that the journal adds", journal, JOURNAL[actions])
        if call == "batch" and actions in IN_BATCH:
            self.bar(f"{name}: us of all processes", full.total, IN_BATCH[actions])


def decision_us(target: Journalled, kind: str, actions: int) -> float:
    """A decision without transport; see benchmarks.serve_decision."""
    folder = str(target.service.folder.root)
    command = [sys.executable, "-m", "benchmarks.serve_decision", folder, kind, str(actions)]
    return float(subprocess.check_output(command, cwd=ROOT, text=True))


def costs(report: Report, folder: Path, kind: str, asked: argparse.Namespace) -> None:
    """The parts that compare targets, for one kind of requests."""
    with ExitStack() as stack:
        enter = stack.enter_context
        counts = asked.actions
        # Eight batches of 64 decisions among 500 actions wait for longer than `server.max_delay`, as they all come at once.
        late = "30s"
        full = enter(
            serve_targets.journalled(folder, kind, counts, edge=asked.edge, max_delay=late)
        )
        bare = enter(serve_targets.unjournalled(folder, kind, counts, asked.edge, max_delay=late))
        for actions in counts:
            reply = full.reply_bytes(kind, actions)
            decision = decision_us(full, kind, actions)
            report.figures[f"decision {kind} K={actions}"] = decision
            with serve_targets.floor(reply) as echo:
                at: dict[str, dict[str, Cost]] = {}
                for name in (part for part in PARTS[:3] if part in asked.part):
                    call = Call.of(name, kind, actions, reply)
                    targets: list[Target] = [bare, full] if name == "batch" else [echo, bare, full]
                    calls = [(target, call) for target in targets]
                    at[name] = measure(calls, asked.seconds, asked.rounds)
                    report.cell(kind, actions, name, at[name])
            if {"unary", "stream"} <= at.keys():
                transport = {name: at[name]["no journal"].total - decision for name in at}
                share = transport["stream"] / transport["unary"]
                report.figures[f"stream transport {kind} K={actions}"] = share
                if kind == "dense" and actions in ABOVE_ECHO:
                    report.bar(f"stream {kind} K={actions}: transport, of unary's", share, STREAM)


def latency(report: Report, folder: Path, asked: argparse.Namespace) -> None:
    """Calls at half of capacity, beside commits on the same disk."""
    with serve_targets.journalled(
        folder / "latency", "dense", [LATENCY_ACTIONS], 1, asked.edge
    ) as it:
        reply = it.reply_bytes("dense", LATENCY_ACTIONS)
        call = Call.of("unary", "dense", LATENCY_ACTIONS, reply)
        capacity = measure([(it, call)], asked.seconds, asked.rounds)[it.name].rate
        before = commit_ms(folder, len(call.post.body), _COMMITS)
        load = h2load.steady(it.port, call.post, capacity / 2, _STEADY)
        after = commit_ms(folder, len(call.post.body), _COMMITS)
        it.settle(load.calls)
    commit = (before[1] + after[1]) / 2
    report.figures["latency"] = {
        "capacity_per_s": capacity,
        "rate_per_s": load.rate,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "commit_p50_ms": (before[0] + after[0]) / 2,
        "commit_p99_ms": commit,
    }
    print(
        f"\nK={LATENCY_ACTIONS} at {load.rate:.0f} of {capacity:.0f} calls a second: p50 {load.p50_ms:.1f} ms, "
        f"p99 {load.p99_ms:.1f} ms; a commit's p99 {commit:.1f} ms"
    )
    late = load.p99_ms - commit
    report.bar(f"latency K={LATENCY_ACTIONS}: p99 ms above a commit's", late, LATE_MS)


def two_workers(report: Report, folder: Path, asked: argparse.Namespace) -> None:
    """One worker and two, in turn, under the same load; and one echo and two, which share cores and caches as these do."""
    counts = [WORKERS_ACTIONS]
    with ExitStack() as stack:
        enter = stack.enter_context
        one = enter(serve_targets.journalled(folder / "one", "dense", counts, 1, asked.edge))
        two = enter(serve_targets.journalled(folder / "two", "dense", counts, 2, asked.edge))
        reply = one.reply_bytes("dense", WORKERS_ACTIONS)
        targets: list[Target] = [one, two]
        targets += [enter(serve_targets.floor(reply, processes)) for processes in (1, 2)]
        for target, name in zip(targets, ("one", "two", "one echo", "two echoes"), strict=True):
            target.name = name
        call = replace(
            Call.of("unary", "dense", WORKERS_ACTIONS, reply), connections=_WORKERS_CONNECTIONS
        )
        found = measure([(target, call) for target in targets], asked.seconds, asked.rounds)
    report.figures["workers"] = {name: asdict(cost) for name, cost in found.items()}
    for name, cost in found.items():
        print(f"{name:10}: {cost.rate:.0f} calls a second, {cost.total:.0f} us each")
    ratio = found["one"].total / found["two"].total
    floor = found["one echo"].total / found["two echoes"].total
    report.figures["workers, of echoes"] = floor
    print(f"two echoes make {floor:.2f} of one's calls in a processor second")
    report.bar(
        "two workers: decisions in a processor second, of one's", ratio, WORKERS, at_most=False
    )


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument("--kind", action="append", choices=KINDS, help="default: dense, sparse")
    parser.add_argument("--actions", action="append", type=int, help="default: 10, 50, 100, 500")
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements; their median counts")
    parser.add_argument("--edge", choices=("grpcio", "envoy"), default="", help="server.edge")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: temporary")
    asked = parser.parse_args(arguments)
    asked.part = asked.part or list(PARTS)
    asked.kind = asked.kind or ["dense", "sparse"]
    asked.actions = asked.actions or list(ACTIONS)
    return asked


def main() -> int:
    """Prints the figures; exit code 1 if a goal is missed."""
    asked = parsed()
    h2load.require()
    report = Report()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        for sub in ("latency", "one", "two"):
            (folder / sub).mkdir()
        if {"unary", "batch", "stream"} & set(asked.part):
            for kind in asked.kind:
                costs(report, folder, kind, asked)
        if "latency" in asked.part:
            latency(report, folder, asked)
        if "workers" in asked.part:
            two_workers(report, folder, asked)
    if report.rows:
        print("\nprocessor microseconds for each decision; per-s and latencies of the service")
        table(["", *_HEADS], report.rows)
    return result("serve-01", report.bars, edge=asked.edge or "default", figures=report.figures)


if __name__ == "__main__":
    sys.exit(main())
