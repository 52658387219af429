"""ope-02: estimators, the confidence sequence and replays beside obp, vw-estimators and mabwiser, on the same arrays.

Why: whoever evaluates offline asks again and again, over settings, seeds and days.

What: each player has a process of its own, with one thread, in a virtual environment of its own (see `environments`), and reads the same file.
They take turns, five each (the replays one), and the best turn counts, in processor seconds.

- IPS, SNIPS and DR of 100,000 rows and 20 actions, from arrays to the value. Both sides check the arrays: that pmfs sum to 1, that
  propensities are in (0, 1]. Neither makes an interval.
- The confidence sequence at 95% of 1,000, 10,000 and 100,000 rows. vw-estimators' is asked once, after the last row; ours gives both ends after every row.
- A log of 10,000 rows, uniform over 10 actions, replayed with LinUCB (alpha 1, ridge 1, a constant, no standardisation, no floor). Once as mabwiser's
  Simulator does it (a batch is a row, and each row is learned), which is our `trained_on_log`; once by rejection, which mabwiser has no function for, so its
  policy is asked and taught row by row in a bare loop, beside our `online`. Both know the first 100 rows when they begin, so that no actions tie.

Bars: IPS and SNIPS 2 times as fast as obp, DR 3 times; the sequence of 100,000 rows 10 times as fast as vw-estimators' and nowhere wider than
1.05 of it; the replay 10 times as fast as mabwiser's Simulator, rejection 2 times as fast as the bare loop (which reads no log, checks nothing and
estimates nothing), with the same matches each; values alike to 1e-9. Exit code 1 if one is missed.

    python -m benchmarks.ope_speed --peers-dir PEERS        # about 3 min
    python -m benchmarks.ope_speed --only sequence
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import DEFAULT_FOLDER, ONE_THREAD, ROOT, python_of, version_of
from benchmarks.reports import result, table

TURNS = 5
FASTER = {
    "ips": 2.0,
    "snips": 2.0,
    "dr": 3.0,
    "sequence": 10.0,
    "replay all": 10.0,
    "replay rejection": 2.0,
}
WIDER = 1.05
ALIKE = 1e-9
ROWS, ACTIONS = 100_000, 20
REPLAYED, REPLAY_ACTIONS, NUMBERS = 10_000, 10, 32

Job = dict[str, Any]


def bandit(rows: int, actions: int, seed: int) -> Job:
    """Clicks on draws from pmfs of which a tenth is uniform; pi is another such pmf."""
    rng = np.random.default_rng(seed)
    pi = rng.dirichlet(np.ones(actions), rows)
    mu = 0.9 * rng.dirichlet(np.ones(actions), rows) + 0.1 / actions
    action = (mu.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, actions - 1)
    q = rng.random((rows, actions))
    every = np.arange(rows)
    reward = (rng.random(rows) < q[every, action]).astype(np.float64)
    return {"reward": reward, "action": action, "pi": pi, "mu": mu[every, action], "q": q}


def logged(rows: int, seed: int) -> Job:
    """The weights of a log, without pmfs."""
    job = bandit(rows, ACTIONS, seed)
    return {
        "reward": job["reward"],
        "mu": job["mu"],
        "pi": job["pi"][np.arange(rows), job["action"]],
    }


def linear(rows: int) -> Job:
    """A uniform log of actions whose rewards are linear in 32 numbers."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(REPLAY_ACTIONS, NUMBERS)) / np.sqrt(NUMBERS)
    context = rng.normal(size=(rows, NUMBERS))
    action = rng.integers(0, REPLAY_ACTIONS, rows)
    reward = (context * theta[action]).sum(axis=1) + 0.5 * rng.normal(size=rows)
    return {"context": context, "action": action, "reward": reward, "actions": REPLAY_ACTIONS}


class Duel:
    """Ours and a peer's answers to one task."""

    def __init__(self, task: str, peer: str, job: Job, folder: Path, turns: int = TURNS) -> None:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "job.npz"
            np.savez(path, **job)
            pairs = [
                (_ask("rankd", task, path, folder), _ask(peer, task, path, folder))
                for _ in range(turns)
            ]
        self.ours = [ours for ours, _ in pairs]
        self.theirs = [theirs for _, theirs in pairs]

    def figures(self, name: str = "") -> dict[str, Any]:
        """Seconds of either, their ratio, and the values, which are the same in each turn."""
        ours, theirs = (
            [turn[name] if name else turn for turn in side] for side in (self.ours, self.theirs)
        )
        fast, slow = (min(turn["seconds"] for turn in side) for side in (ours, theirs))
        return {
            "ours": fast,
            "theirs": slow,
            "times": slow / fast,
            "values": (ours[0]["value"], theirs[0]["value"]),
        }


def _ask(player: str, task: str, path: Path, folder: Path) -> dict[str, Any]:
    said = subprocess.run(
        [python_of(player, folder), "-m", "benchmarks.ope_players", player, task, path],
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    return answer


def estimators(folder: Path, bars: dict[str, bool]) -> dict[str, Any]:
    """Ours and obp's."""
    duel, found = Duel("estimators", "obp", bandit(ROWS, ACTIONS, 0), folder), {}
    for name in ("ips", "snips", "dr"):
        got = found[name] = duel.figures(name)
        ours, theirs = got["values"]
        bars[f"{name}: {got['times']:.1f} times as fast as obp, at least {FASTER[name]:g}"] = (
            got["times"] >= FASTER[name]
        )
        bars[f"{name}: {ours:.12f} and {theirs:.12f}"] = abs(ours - theirs) <= ALIKE
    return found


def sequences(folder: Path, bars: dict[str, bool]) -> dict[str, Any]:
    """Ours and vw-estimators'."""
    found = {}
    for rows in (1_000, 10_000, 100_000):
        got = Duel("sequence", "vw-estimators", logged(rows, rows), folder).figures()
        ours, theirs = ((high - low) for low, high in got["values"])
        got["wider"] = ours / theirs
        bars[f"sequence of {rows:,} rows: {got['wider']:.3f} times as wide, at most {WIDER}"] = (
            got["wider"] <= WIDER
        )
        found[f"sequence, {rows:,} rows"] = got
    bars[f"sequence: {got['times']:.0f} times as fast as vw-estimators, at least 10"] = (
        got["times"] >= FASTER["sequence"]
    )
    return found


def replays(folder: Path, bars: dict[str, bool]) -> dict[str, Any]:
    """Ours and mabwiser's."""
    found = {}
    for method in ("all", "rejection"):
        task = f"replay {method}"
        got = Duel(task, "mabwiser", linear(REPLAYED), folder, turns=1).figures()
        ours, theirs = map(set, got.pop("values"))
        got["matches"] = [len(ours), len(theirs), len(ours ^ theirs)]
        bars[f"{task}: {got['times']:.1f} times as fast as mabwiser, at least {FASTER[task]:g}"] = (
            got["times"] >= FASTER[task]
        )
        bars[f"{task}: {len(ours):,} and {len(theirs):,} matches, {len(ours ^ theirs)} differ"] = (
            ours == theirs
        )
        found[task] = got
    return found


def main() -> int:
    """Prints the table; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers-dir", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--only", default="", help="estimators, sequences or replays")
    args = parser.parse_args()
    bars: dict[str, bool] = {}
    found: dict[str, dict[str, Any]] = {}
    for part in (estimators, sequences, replays):
        if args.only in part.__name__:
            found |= part(args.peers_dir, bars)
    table(
        ["", "ours, ms", "theirs, ms", "times as fast"],
        [
            [
                name,
                f"{1e3 * got['ours']:,.2f}",
                f"{1e3 * got['theirs']:,.2f}",
                f"{got['times']:.1f}",
            ]
            for name, got in found.items()
        ],
    )
    peers = ("obp", "vw-estimators", "mabwiser")
    versions = {peer: version_of(peer, args.peers_dir) for peer in peers}
    return result("ope-02", bars, figures=found, versions=versions)


if __name__ == "__main__":
    sys.exit(main())
