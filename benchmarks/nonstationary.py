"""policies-02: what forgetting gains in a world that changes, and what it costs in one that does not.

Why: a policy that never forgets trusts what it learned before everything changed; one that forgets pays for it every day.

What: the reference job (`jobs.reference_job`) with all weights drawn anew every 2,000 rounds, and as it is. One policy without
forgetting, with `discount`, with `window`, and with a drift detector of its model that restarts it. Everything is seeded.

Bars, as ratios of mean regrets over seeds to the same policy without forgetting: in the changing world some discount or window at
most .60; and some restart at most .55 that is also at most 1.10 in the stationary one. Exit code 1 if one is missed. The last
column tells who stays within 1.10 there.

    python -m benchmarks.nonstationary
    python -m benchmarks.nonstationary --policy '{"type": "lints"}' --discounts .998 --windows 1000 --seeds 10
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import DEFAULT_FOLDER, Worker, WorkerError
from benchmarks.jobs import ROUNDS, reference_job
from benchmarks.reports import missing, result, table
from policies import ModelSpec

REDRAW = 2_000  # rounds
FORGETTING, RESTART, STATIONARY = 0.60, 0.55, 1.10  # most, of the regret without
NONE = "never forgets"
# Nearly all rewards are within: expected ones have a standard deviation of .9, the noise one of .5.
LOW, HIGH = -5.0, 5.0

# Drift detectors (`ModelSpec.drift`) whose answer is to restart the policy.
DETECTORS: dict[str, dict[str, Any]] = {
    "adwin, residual": {"detector": "adwin", "on": "residual", "action": "restart"},
    "adwin, reward": {"detector": "adwin", "on": "reward", "action": "restart"},
    "page_hinkley, residual": {"detector": "page_hinkley", "on": "residual", "action": "restart"},
}


def variants(
    policy: dict[str, Any], discounts: list[float], windows: list[int]
) -> dict[str, dict[str, Any]]:
    """Settings of each player, by label, of those that this installation can build."""
    found: dict[str, dict[str, Any]] = {NONE: {"policy": policy}}
    for discount in discounts:
        found[f"discount {discount}"] = {"policy": {**policy, "discount": discount}}
    for window in windows:
        found[f"window {window}"] = {"policy": {**policy, "window": window}}
    for label, settings in list(found.items()):
        if why := missing(settings["policy"]):
            print(f"{label}: left out: {why}", file=sys.stderr)
            del found[label]
    for label, drift in DETECTORS.items():
        if "drift" in ModelSpec.__dataclass_fields__:
            found[f"restart: {label}"] = {"policy": policy, "drift": drift}
        else:
            print(f"restart: {label}: left out: models detect no drift yet", file=sys.stderr)
    return found


def play(
    settings: dict[str, Any], job: Path, seed: int, floor: float
) -> tuple[float, float] | WorkerError:
    """(regret, rounds per processor second) of one game."""
    try:
        with Worker("rankd", DEFAULT_FOLDER) as worker:
            worker.load(job, {**settings, "low": LOW, "high": HIGH}, floor, seed)
            got = worker.play(ROUNDS)
    except WorkerError as error:
        return error
    return got["regret"], got["rounds"] / got["cpu"]


def main() -> int:
    """Prints the table; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--policy", type=json.loads, default={"type": "linucb"}, help="as JSON")
    parser.add_argument("--discounts", type=float, nargs="*", default=[0.995, 0.998, 0.999])
    parser.add_argument("--windows", type=int, nargs="*", default=[500, 1000, 2000])
    parser.add_argument("--floor", type=float, default=0.0, help="min_exploration")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    players = variants(args.policy, args.discounts, args.windows)
    worlds = {"changing": REDRAW, "stationary": 0}
    cells = [
        (label, world, seed) for seed in range(args.seeds) for world in worlds for label in players
    ]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.processes) as pool:
        jobs = {(w, s): Path(folder) / f"{w}-{s}.npz" for w in worlds for s in range(args.seeds)}
        for (world, seed), job in jobs.items():
            reference_job(job, seed, worlds[world])
        games = [
            pool.submit(play, players[label], jobs[world, seed], seed, args.floor)
            for label, world, seed in cells
        ]
        outcome = [game.result() for game in games]
    regrets: dict[tuple[str, str], list[float]] = {}
    speeds: dict[str, list[float]] = {}
    for (label, world, _), got in zip(cells, outcome, strict=True):
        if isinstance(got, WorkerError):
            print(f"{label}: left out: {got}", file=sys.stderr)
            players.pop(label, None)
        else:
            regrets.setdefault((label, world), []).append(got[0])
            speeds.setdefault(label, []).append(got[1])
    return report(args.policy, list(players), regrets, speeds, args.seeds)


def report(
    policy: dict[str, Any],
    labels: list[str],
    regrets: dict[tuple[str, str], list[float]],
    speeds: dict[str, list[float]],
    seeds: int,
) -> int:
    """Prints regrets, ratios and bars."""
    figures: dict[str, Any] = {}
    rows: list[list[object]] = []
    for label in labels:
        changing, stationary = (
            float(np.mean(regrets[label, world])) for world in ("changing", "stationary")
        )
        ratios = [
            value / float(np.mean(regrets[NONE, world]))
            for world, value in (("changing", changing), ("stationary", stationary))
        ]
        speed = float(np.mean(speeds[label]))
        figures[label] = {
            "changing": changing,
            "stationary": stationary,
            "ratio_changing": ratios[0],
            "ratio_stationary": ratios[1],
            "rounds_per_cpu_second": speed,
        }
        rows.append(
            [
                label,
                f"{changing:,.0f}",
                f"{ratios[0]:.3f}",
                f"{stationary:,.0f}",
                f"{ratios[1]:.3f}",
                f"{speed:,.0f}",
                "yes" if ratios[1] <= STATIONARY else "",
            ]
        )
    heads = ["", "changing", "ratio", "stationary", "ratio", "rounds/cpu s", f"<= {STATIONARY}"]
    table(heads, rows)
    print(
        f"{policy}: mean regret over {seeds} seeds; weights redrawn every {REDRAW} rounds, or never"
    )
    bars = {}
    forgetting = [f["ratio_changing"] for label, f in figures.items() if label[0] in "dw"]
    if forgetting:
        best = min(forgetting)
        bars[f"discount or window: {best:.3f} of regret without, at most {FORGETTING}"] = (
            best <= FORGETTING
        )
    restarts = [f for label, f in figures.items() if label.startswith("restart")]
    if restarts:
        steady = [f["ratio_changing"] for f in restarts if f["ratio_stationary"] <= STATIONARY]
        best = min(steady, default=float("inf"))
        bars[f"restart: {best:.3f} of regret without, at most {RESTART}"] = best <= RESTART
    return result("policies-02", bars, policy=policy, seeds=seeds, variants=figures)


if __name__ == "__main__":
    sys.exit(main())
