"""policies-04: reward on real data: every policy of ours and six peers, each with its defaults.

Why: the policy that an app gets without choosing has to be good on data that nobody tuned it on.

What: supervised-to-bandit (`datasets`). One cell is a policy, a data set and a seed: the seed draws at most 4,000 rows and their
order, the policy decides row by row and learns at once, and the cell is its mean reward over all rows (progressive, so
what it costs to learn counts). A share of .05 is mixed into everybody's pmf; a peer that gives an action instead of a
pmf plays it with .95 and all actions evenly with .05. Numbers are standardised online: ours by its own Model, peers get what
the same standardiser makes of them (for the decision as known before it, for learning as known after it), and a constant 1 as a
last number where they have no intercept of their own. All cells of one seed share rows, order and random draws, so
differences are paired.

Frozen sets are refused without --frozen: they are for final figures, not for tuning.

Finished cells are kept in --cells (one JSON object a line) and not played again, so a run may be stopped and go on. A policy that
has changed since needs a new file, or --again NAME.

    python -m benchmarks.quality --cells cells.jsonl
    python -m benchmarks.quality --cells cells.jsonl --frozen
    python -m benchmarks.quality --cells cells.jsonl --only linucb lints --sets digits --seeds 3
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from benchmarks.datasets import DEVELOPMENT, FROZEN, load
from benchmarks.environments import DEFAULT_FOLDER, PEERS, Worker, WorkerError
from benchmarks.jobs import write
from benchmarks.players import encoded
from benchmarks.reports import missing, result, table
from policies import Interaction
from policies.standardise import Standardiser

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from benchmarks.datasets import DataSet

ROWS = 4_000
SEEDS = 10
FLOOR = 0.05
AUTO = "auto"
# `auto` over the best single policy: on average over sets, and on each.
ON_AVERAGE, ON_EACH = 0.97, 0.94

# Ours, each as its name installs it, and some settings that tell something. Left out: fm, whose time grows with the square of the
# features (minutes for a run on digits), and mf, which looks at ids alone.
OURS: dict[str, dict[str, Any]] = {
    "auto": {"type": "auto"},
    "linucb": {"type": "linucb"},
    "linucb alpha=1": {"type": "linucb", "alpha": 1.0},
    "lints": {"type": "lints"},
    "kernel": {"type": "kernel"},
    "river": {"type": "river"},
    "vw": {"type": "vw"},
    "sgd": {"type": "sgd"},
    "logistic_ts": {"type": "logistic_ts"},
    "uniform": {"type": "uniform"},
}


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's contextual policy as it comes: constructor defaults, nothing tuned."""

    player: str
    settings: dict[str, Any]
    constant: bool  # whether it gets a constant 1, as it has no intercept


# Which policy of each, and why that one. Where there are several, the one that its documentation leads with and that can
# learn row by row.
THEIRS: dict[str, Peer] = {
    # Its width `epsilon` is 0 by default: greedy ridge regressions.
    "obp LinUCB": Peer("obp", {"policy": "LinUCB"}, constant=True),
    # alpha 1 and ridge 1 by default.
    "mabwiser LinUCB": Peer("mabwiser", {"policy": "LinUCB"}, constant=True),
    # Its only contextual policy.
    "river LinUCBDisjoint": Peer("river", {}, constant=True),
    # Its only native contextual learner; the others wrap Vowpal Wabbit. Its default features hold the action alone.
    "coba LinUCB": Peer("coba", {}, constant=False),
    # Its other policies need a classifier of another library, and most of them refits in batches.
    "contextualbandits LinUCB": Peer("contextualbandits", {}, constant=False),
    # The crossing is what its documentation does in every example: without it no context matters.
    "vw squarecb": Peer(
        "vowpalwabbit", {"args": "--cb_explore_adf --squarecb -q ca"}, constant=False
    ),
}
assert {peer.player for peer in THEIRS.values()} == set(PEERS)


@dataclass(frozen=True, slots=True)
class Cell:
    """One policy on one data set with one seed."""

    data: str
    seed: int
    policy: str


class Cells:
    """Finished cells, in a file that only grows."""

    def __init__(self, path: Path, again: Sequence[str]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.rewards: dict[Cell, float] = {}
        self.seconds: dict[Cell, float] = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            kept = json.loads(line)
            if kept["policy"] not in again:
                self._take(kept)

    def add(self, cell: Cell, played: Mapping[str, Any]) -> None:
        """Takes in what was played, and writes it down."""
        kept = {"data": cell.data, "seed": cell.seed, "policy": cell.policy}
        kept |= {"rounds": played["rounds"], "reward": played["reward"], "cpu": played["cpu"]}
        with self._lock:
            self._take(kept)
            with self._path.open("a") as lines:
                lines.write(json.dumps(kept) + "\n")

    def _take(self, kept: Mapping[str, Any]) -> None:
        cell = Cell(kept["data"], kept["seed"], kept["policy"])
        self.rewards[cell] = kept["reward"] / kept["rounds"]
        self.seconds[cell] = kept["cpu"] / kept["rounds"]

    def of(self, data: str, policy: str, seeds: Iterable[int]) -> NDArray[np.float64] | None:
        """Mean rewards [seeds], or None where one is missing."""
        found = [self.rewards.get(Cell(data, seed, policy)) for seed in seeds]
        return None if None in found else np.array(found, np.float64)


def write_jobs(data: DataSet, seed: int, folder: Path) -> None:
    """Two files for one seed: with the constant 1, and without."""
    rng = np.random.default_rng([seed, len(data)])
    rows = rng.permutation(len(data))[:ROWS]
    raw = data.x[rows]
    rewards = np.zeros((len(rows), len(data.classes)))
    rewards[np.arange(len(rows)), data.label[rows]] = 1.0
    before, after = _standardised(raw, len(data.classes))
    ones = np.ones((len(rows), 1))
    state = rng.bit_generator.state
    for constant in (False, True):
        rng.bit_generator.state = state  # the same draws in both
        x = [np.hstack((z, ones)) if constant else z for z in (before, after)]
        path = _job(folder, data.name, seed, constant)
        write(path, rng, raw=raw, x=x[0], x_learn=x[1], rewards=rewards)


def _job(folder: Path, data: str, seed: int, constant: bool) -> Path:
    return folder / f"{data}-{seed}{'-1' if constant else ''}.npz"


def _standardised(
    raw: NDArray[np.float64], actions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each row as known before its decision and after its reward, by the service's own standardiser."""
    standardiser = Standardiser()
    context, action_set = encoded(actions, raw.shape[1], named=True)
    before, after = np.empty_like(raw), np.empty_like(raw)
    pmf = np.full(actions, 1.0 / actions)
    for t, row in enumerate(raw):
        features = context.with_value(row)
        before[t] = standardiser.transform(features).value
        standardiser.learn(Interaction(features, action_set, 0, pmf, 0.0))
        after[t] = standardiser.transform(features).value
    return before, after


class Table:
    """Plays what is missing, `processes` cells at a time."""

    def __init__(self, cells: Cells, peers_dir: Path, folder: Path) -> None:
        self._cells = cells
        self._peers_dir = peers_dir
        self._folder = folder
        self._own = threading.local()
        self._workers: list[Worker] = []
        self.failed: dict[str, str] = {}

    def play(self, todo: Sequence[Cell], processes: int) -> None:
        """Plays these cells."""
        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(self._cell, todo))
        for worker in self._workers:
            worker.__exit__()

    def _cell(self, cell: Cell) -> None:
        if cell.policy in self.failed:
            return
        peer = THEIRS.get(cell.policy)
        player = peer.player if peer else "rankd"
        if peer:
            settings = peer.settings
        else:
            limits = {"low": 0.0, "high": 1.0}
            settings = {"policy": OURS[cell.policy], "standardise": True, **limits}
        job = _job(self._folder, cell.data, cell.seed, peer is not None and peer.constant)
        try:
            worker = self._worker(player)
            worker.load(job, settings, FLOOR, cell.seed)
            self._cells.add(cell, worker.play(ROWS))
        except WorkerError as error:
            self.failed[cell.policy] = str(error)
            print(f"{cell.policy}: left out: {error}", file=sys.stderr)
            self._own.__dict__.pop(player, None)

    def _worker(self, player: str) -> Worker:
        """This thread's own."""
        own: dict[str, Worker] = self._own.__dict__
        if player not in own:
            own[player] = Worker(player, self._peers_dir)
            self._workers.append(own[player])
        return own[player]


def main() -> int:
    """Prints the table; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=Path, required=True, help="file of finished cells")
    parser.add_argument("--frozen", action="store_true", help="the frozen sets, and only these")
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--only", nargs="+", help="names of policies")
    parser.add_argument("--again", nargs="+", default=[], help="policies to play once more")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--peers-dir", type=Path, default=DEFAULT_FOLDER)
    args = parser.parse_args()
    sets = args.sets or list(FROZEN if args.frozen else DEVELOPMENT)
    try:
        data_sets = {name: load(name, args.peers_dir, args.frozen) for name in sets}
    except ValueError as error:
        parser.error(str(error))
    policies = [name for name in (*OURS, *THEIRS) if not args.only or name in args.only]
    for name in [name for name in policies if name in OURS]:
        if why := missing(OURS[name]):
            print(f"{name}: left out: {why}", file=sys.stderr)
            policies.remove(name)
    seeds = range(1, args.seeds + 1)
    cells = Cells(args.cells, args.again)
    todo = [Cell(data, seed, name) for seed in seeds for data in sets for name in policies]
    todo = [cell for cell in todo if cell not in cells.rewards]
    with tempfile.TemporaryDirectory() as folder:
        for data, seed in {(cell.data, cell.seed) for cell in todo}:
            write_jobs(data_sets[data], seed, Path(folder))
        Table(cells, args.peers_dir, Path(folder)).play(todo, args.processes)
    return report(cells, sets, policies, seeds, frozen=args.frozen)


def report(
    cells: Cells, sets: Sequence[str], policies: Sequence[str], seeds: range, *, frozen: bool
) -> int:
    """Mean rewards with 95% intervals, then `auto` beside the best of all others, and beside each peer."""
    rewards = {
        (data, name): found
        for data in sets
        for name in policies
        if (found := cells.of(data, name, seeds)) is not None
    }
    rows: list[list[object]] = []
    for name in policies:
        row: list[object] = [name]
        for data in sets:
            found = rewards.get((data, name))
            row.append("-" if found is None else f"{found.mean():.4f} +-{half_width(found):.4f}")
        times = [cells.seconds[c] for c in cells.seconds if c.policy == name and c.data in sets]
        rows.append([*row, f"{1e3 * np.mean(times):.2f}" if times else "-"])
    table(["", *sets, "ms a round"], rows)
    print(f"mean reward over {len(seeds)} seeds, and half of a 95% interval; floor {FLOOR}\n")

    others = [name for name in policies if name != AUTO]
    ratios: dict[str, dict[str, list[float]]] = {data: {} for data in sets}
    best: dict[str, str] = {}
    for data in sets:
        auto = rewards.get((data, AUTO))
        singles = [name for name in others if (data, name) in rewards]
        if auto is None or not singles:
            continue
        best[data] = max(singles, key=lambda name: float(rewards[data, name].mean()))
        for name in singles:
            ratios[data][name] = list(ratio_interval(auto, rewards[data, name]))
    if best:
        rows = [
            [
                name,
                *(_ratio(ratios[data].get(name)) + "*" * (best.get(data) == name) for data in sets),
            ]
            for name in others
        ]
        table(["auto over", *sets], rows)
        print("ratio of mean rewards [paired 95% interval]; * the best of them")
    figures = {
        "sets": {
            data: {
                name: {"mean": float(found.mean()), "half_width": half_width(found)}
                for name in policies
                if (found := rewards.get((data, name))) is not None
            }
            for data in sets
        },
        "ratios": ratios,
        "best": best,
    }
    bars = _bars(sets, ratios, best) if len(best) == len(sets) else {}
    return result("policies-04", bars, frozen=frozen, seeds=len(seeds), rows=ROWS, **figures)


def _bars(
    sets: Sequence[str], ratios: Mapping[str, Mapping[str, list[float]]], best: Mapping[str, str]
) -> dict[str, bool]:
    to_best = [ratios[data][best[data]][0] for data in sets]
    bars = {
        f"auto {np.mean(to_best):.3f} of the best single policy on average, at least {ON_AVERAGE}": bool(
            np.mean(to_best) >= ON_AVERAGE
        ),
        f"auto {min(to_best):.3f} of it on the worst set, at least {ON_EACH}": min(to_best)
        >= ON_EACH,
    }
    needed = len(sets) - 1
    of_all = sum(all(ratios[data].get(name, [0.0])[0] > 1 for name in THEIRS) for data in sets)
    bars[f"auto ahead of every peer at once on {of_all} of {len(sets)}, at least {needed}"] = (
        of_all >= needed
    )
    for name in THEIRS:
        ahead = sum(ratios[data].get(name, [0.0])[0] > 1 for data in sets)
        bars[f"auto ahead of {name} on {ahead} of {len(sets)}, at least {needed}"] = ahead >= needed
    return bars


def half_width(values: NDArray[np.float64]) -> float:
    """Half of a 95% interval for the mean, by Student's t."""
    n = len(values)
    if n < 2:
        return float("nan")
    return float(student.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))


def ratio_interval(
    a: NDArray[np.float64], b: NDArray[np.float64], draws: int = 10_000
) -> tuple[float, float, float]:
    """(mean(a) / mean(b), lower, upper): 95% by the percentiles of a bootstrap over pairs (Efron 1979)."""
    pairs = np.random.default_rng(0).integers(0, len(a), (draws, len(a)))
    found = a[pairs].mean(axis=1) / b[pairs].mean(axis=1)
    low, high = np.quantile(found, [0.025, 0.975])
    return float(a.mean() / b.mean()), float(low), float(high)


def _ratio(found: Sequence[float] | None) -> str:
    return "-" if found is None else f"{found[0]:.3f} [{found[1]:.3f}, {found[2]:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
