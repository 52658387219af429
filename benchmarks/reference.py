"""policies-01: rounds a second and regret on the reference job, ours beside six peers, each as it comes from PyPI.

Why: a policy that is slow or loses more than the textbook says is a bug that no unit test finds.

What: the reference job (`jobs.reference_job`): 10,000 rounds, 20 actions, 32 dense numbers, linear rewards. Each player runs in a
process of its own, with one thread, in a virtual environment of its own; all see the same contexts, rewards and draws. They
take turns of a second, so that all meet the same load of the machine, and speed is counted in their own processor seconds
(they have one thread, so that is rounds a second on an idle machine). Imports and compilation happen before, in a first
game that does not count. Ours goes through the public interface: pmf, draw, learn.

Slow players stop after --budget seconds; --full plays all 10,000 rounds, which regret needs.

Bars: ours ahead of each peer's same algorithm in speed (of Vowpal Wabbit, linucb), and its regret at most 1.03 of the
best peer's. Exit code 1 if one is missed.

    python -m benchmarks.reference                  # speed; about 2 min
    python -m benchmarks.reference --full           # and regret; about 5 min on an idle machine
    python -m benchmarks.reference --full --seeds 8     # regret differs by 5% from seed to seed
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environments import DEFAULT_FOLDER, Worker, WorkerError, version_of
from benchmarks.jobs import RANDOM_REGRET, ROUNDS, reference_job
from benchmarks.reports import missing, result, table

TURN = 1.0  # seconds
WARM_UP = 30  # rounds
REGRET = 1.03  # most, of the best peer's
_LIMITS = {"low": -10.0, "high": 10.0}


@dataclass(frozen=True, slots=True)
class Entry:
    """Who plays, and beside whom."""

    label: str
    player: str
    family: str
    settings: dict[str, Any] = field(default_factory=dict)
    floor: float = 0.0


def _ours(label: str, family: str, floor: float = 0.0, **policy: Any) -> Entry:
    draw = policy.pop("draw", False)
    return Entry(label, "rankd", family, {"policy": policy, "draw": draw, **_LIMITS}, floor)


# Peers' LinUCB have a bound of width 1 and a ridge of 1, which is all their defaults but obp's; ours its default, and 1.
ENTRIES = (
    _ours("linucb", "linucb", type="linucb"),
    _ours("linucb alpha 1", "linucb", type="linucb", alpha=1.0),
    _ours("linucb, floor .05", "linucb", 0.05, type="linucb"),
    _ours("lints scale 1, exact pmf", "lints", type="lints", scale=1.0),
    _ours("lints scale 1, draws only", "lints", type="lints", scale=1.0, draw=True),
    _ours("lints, exact pmf", "lints", type="lints"),
    _ours("lints, draws only", "lints", type="lints", draw=True),
    _ours("lints, floor .05", "lints", 0.05, type="lints"),
    Entry("obp LinUCB", "obp", "linucb", {"policy": "LinUCB", "epsilon": 1.0}),
    Entry("mabwiser LinUCB", "mabwiser", "linucb", {"policy": "LinUCB"}),
    Entry("river LinUCBDisjoint", "river", "linucb"),
    Entry("coba LinUCB", "coba", "linucb"),
    Entry("contextualbandits LinUCB", "contextualbandits", "linucb"),
    Entry("obp LinTS", "obp", "lints", {"policy": "LinTS"}),
    Entry("mabwiser LinTS", "mabwiser", "lints", {"policy": "LinTS"}),
    Entry("vw squarecb", "vowpalwabbit", "vw", {"args": "--cb_explore_adf --squarecb -q ca"}),
)


def play(
    entries: list[Entry], seed: int, rounds: int, budget: float, peers: Path
) -> dict[str, dict[str, Any]]:
    """What each player reached, by label; they take turns."""
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        job = Path(folder) / "job.npz"
        reference_job(job, seed)
        workers: dict[str, Worker] = {}
        for entry in entries:
            worker = stack.enter_context(Worker(entry.player, peers))
            try:
                for _ in range(2):  # the first game does not count
                    worker.load(job, entry.settings, entry.floor)
                    worker.play(WARM_UP)
                worker.load(job, entry.settings, entry.floor)
            except WorkerError as error:
                print(f"{entry.label}: left out: {error}", file=sys.stderr)
            else:
                workers[entry.label] = worker
        while workers:
            for label, worker in list(workers.items()):
                found[label] = worker.play(rounds, TURN)
                if found[label]["rounds"] >= rounds or found[label]["wall"] >= budget:
                    del workers[label]
    return found


def main() -> int:
    """Prints the table; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all rounds for every player")
    parser.add_argument("--budget", type=float, default=8.0, help="seconds for each player")
    parser.add_argument("--seeds", type=int, default=1, help="jobs; regret is their mean")
    parser.add_argument("--only", default="", help="labels that contain this; no bars then")
    parser.add_argument("--peers-dir", type=Path, default=DEFAULT_FOLDER)
    args = parser.parse_args()
    entries = [entry for entry in ENTRIES if args.only in entry.label and not _absent(entry)]
    budget = 1e9 if args.full else args.budget
    jobs = [play(entries, seed, ROUNDS, budget, args.peers_dir) for seed in range(args.seeds)]
    found = {label: _together([job[label] for job in jobs]) for label in jobs[0]}
    rows: list[list[object]] = []
    for entry in entries:
        if (got := found.get(entry.label)) is None:
            continue
        got["speed"] = got["rounds"] / got["cpu"]
        got["version"] = version_of(entry.player, args.peers_dir)
        rows.append(
            [
                entry.label,
                got["version"],
                f"{got['speed']:,.0f}",
                f"{got['rounds'] / got['wall']:,.0f}",
                f"{got['regret']:,.0f}" if got["complete"] else f"({got['rounds']:,} rounds)",
            ]
        )
    table(["", "version", "rounds/cpu s", "rounds/wall s", "regret"], rows)
    print(f"a policy that plays at random: regret {RANDOM_REGRET:,.0f}")
    bars = {} if args.only else _bars(entries, found)
    return result("policies-01", bars, seeds=args.seeds, rounds=ROUNDS, players=found)


def _together(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """One player's figures over all jobs."""
    return {
        **{name: sum(job[name] for job in jobs) for name in ("rounds", "wall", "cpu")},
        "regret": sum(job["regret"] for job in jobs) / len(jobs),
        "regrets": [job["regret"] for job in jobs],
        "complete": all(job["rounds"] == ROUNDS for job in jobs),
    }


def _absent(entry: Entry) -> bool:
    why = missing(entry.settings["policy"]) if entry.player == "rankd" else ""
    if why:
        print(f"{entry.label}: left out: {why}", file=sys.stderr)
    return bool(why)


def _bars(entries: list[Entry], found: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Ours against each peer's same algorithm; regret only where all rounds were played."""
    bars = {}
    played = [entry for entry in entries if entry.label in found]
    for ours in (e for e in played if e.player == "rankd" and not e.floor):
        got = found[ours.label]
        peers = [
            e
            for e in played
            if e.player != "rankd"
            and (e.family == ours.family or (e.family == "vw" and ours.family == "linucb"))
        ]
        for peer in peers:
            ratio = got["speed"] / found[peer.label]["speed"]
            bars[f"{ours.label}: {ratio:.1f} times as fast as {peer.label}"] = ratio > 1
        regrets = [found[e.label]["regret"] for e in peers if found[e.label]["complete"]]
        if regrets and got["complete"] and len(regrets) == len(peers):
            ratio = got["regret"] / min(regrets)
            bars[f"{ours.label}: regret {ratio:.3f} of the best peer's, at most {REGRET}"] = (
                ratio <= REGRET
            )
    return bars


if __name__ == "__main__":
    sys.exit(main())
