"""policies-03: a million string features, 20 actions, 20 features for each action and 5 for the context.

Why: ids and words have no end. A policy must stay fast and small all the same.

What: features are drawn anew for each round, by Zipf's law, from 10^6 names: so common ones come back and most are rare. Each
feature has an effect of its own, and so has each context feature on each action; the reward is 0 or 1. Counted are rounds per
second of processor time through pmf, draw and learn with features that are encoded already, how long encoding from
strings takes beside it, the mean reward of the last half as a share of the way from random play to the best play, and memory.

Bar: sgd makes 5,000 rounds a second. Exit code 1 if it does not.

    python -m benchmarks.sparse
    python -m benchmarks.sparse --policy '{"type": "sgd", "bits": 20}' --rounds 100000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.environments import ONE_THREAD
from benchmarks.reports import missing, result, table
from policies.features import encode_actions, encode_context
from policies.registry import create
from policies.sampler import draw
from policies.types import Interaction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.types import ActionSet, Features

NAMES, K, PER_ACTION, PER_CONTEXT, VALUES = 1_000_000, 20, 20, 5, 10
IDS = tuple(f"action-{k:02}" for k in range(K))
CHUNK = 1_000  # rounds whose features are in memory at once
GOAL = 5_000.0  # rounds a second


class World:
    """Rounds with their expected rewards."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        weight = 1.0 / np.arange(1, NAMES + 1)
        self._cdf = np.cumsum(weight) / weight.sum()
        self._effect = self._random.normal(0.0, 0.5, NAMES)
        self._cross = self._random.normal(0.0, 0.5, (K, PER_CONTEXT, VALUES))
        self._seen = np.zeros(NAMES, np.bool_)

    @property
    def names(self) -> int:
        """How many different names have been drawn."""
        return int(np.count_nonzero(self._seen))

    def rounds(self, count: int) -> tuple[list[tuple[Any, Any]], NDArray[np.float64]]:
        """(messages of each round, expected rewards [count, K])."""
        words = np.searchsorted(self._cdf, self._random.random((count, K, PER_ACTION)))
        self._seen[words] = True
        context = self._random.integers(VALUES, size=(count, PER_CONTEXT))
        margin = self._effect[words].sum(axis=2) / 2.0
        for i in range(PER_CONTEXT):
            margin += self._cross[:, i, context[:, i]].T
        mean = 1.0 / (1.0 + np.exp(-margin))
        return [
            _messages(w, c) for w, c in zip(words.tolist(), context.tolist(), strict=True)
        ], mean


def _messages(words: list[list[int]], context: list[int]) -> tuple[Any, Any]:
    own = [sorted(set(row)) for row in words]
    actions = _group(
        categorical_counts=[len(row) for row in own],
        categorical_names=["word"] * sum(map(len, own)),
        categorical_values=[f"w{i}" for row in own for i in row],
    )
    shared = _group(
        categorical_names=[f"c{i}" for i in range(PER_CONTEXT)],
        categorical_values=[str(v) for v in context],
    )
    return shared, actions


def _group(**fields: Any) -> Any:
    empty = dict.fromkeys(
        ("numeric_counts", "numeric_names", "numeric_values", "vector_names", "vector_sizes"), ()
    )
    return SimpleNamespace(namespace="", vector_size=0, vector_data=b"", **empty, **fields)


def _encode(messages: tuple[Any, Any]) -> tuple[Features, ActionSet]:
    shared, actions = messages
    return encode_context([shared]), encode_actions(IDS, [actions])


def run(config: dict[str, Any], rounds: int, seed: int) -> dict[str, Any]:
    """The figures of one policy."""
    policy, world = create(config, (0.0, 1.0)), World(seed)
    random = np.random.default_rng(seed + 1)
    before = _peak_mb()
    encoding = learning = 0.0
    late: list[tuple[float, float, float]] = []  # (earned, random, best)
    for first in range(0, rounds, CHUNK):
        messages, mean = world.rounds(min(CHUNK, rounds - first))
        started = time.process_time()
        encoded = [_encode(x) for x in messages]
        encoding += time.process_time() - started
        u = random.random((len(encoded), 2)).tolist()
        played = []
        started = time.process_time()
        for t, (context, actions) in enumerate(encoded):
            pmf = policy.pmf(context, actions, first + t).pmf
            k = draw(pmf, u[t][0])
            reward = float(u[t][1] < mean[t, k])
            policy.learn([Interaction(context, actions, k, pmf, reward)])
            played.append(k)
        learning += time.process_time() - started
        if first >= rounds // 2:
            earned = mean[np.arange(len(played)), played]
            late += zip(
                earned.tolist(), mean.mean(axis=1).tolist(), mean.max(axis=1).tolist(), strict=True
            )
    got, chance, best = np.array(late).mean(axis=0).tolist()
    return {
        "policy": config,
        "rounds": rounds,
        "names": world.names,
        "rounds_per_second": rounds / learning,
        "encoding_us": 1e6 * encoding / rounds,
        "both_per_second": rounds / (learning + encoding),
        "earned": (got - chance) / (best - chance),
        "state_mb": len(policy.state()) / 2**20,
        "grown_mb": _peak_mb() - before,
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    # On Linux in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Prints the table; exit code 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--policy", type=json.loads, action="append", help="as JSON; several times")
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.environ.update(ONE_THREAD)  # BLAS has read them already: once more, from the start
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.sparse", *sys.argv[1:]])
    found, bars = [], {}
    for config in args.policy or [{"type": "sgd"}, {"type": "vw"}]:
        if why := missing(config):
            parser.error(f"{config}: {why}")
        got = run(config, args.rounds, args.seed)
        found.append(got)
        if config["type"] == "sgd":
            speed = got["rounds_per_second"]
            bars[f"{config}: {speed:,.0f} rounds a second, at least {GOAL:,.0f}"] = speed >= GOAL
    rows = [
        [
            json.dumps(got["policy"]),
            f"{got['rounds_per_second']:,.0f}",
            f"{got['encoding_us']:,.0f}",
            f"{got['both_per_second']:,.0f}",
            f"{got['earned']:.3f}",
            f"{got['state_mb']:.1f}",
            f"{got['grown_mb']:.0f}",
            f"{got['peak_mb']:.0f}",
        ]
        for got in found
    ]
    heads = [
        "",
        "rounds/s",
        "encoding, us",
        "both/s",
        "earned",
        "state, MB",
        "grown, MB",
        "peak, MB",
    ]
    table(heads, rows)
    print(f"{found[0]['names']:,} different names in {args.rounds:,} rounds")
    return result("policies-03", bars, policies=found)


if __name__ == "__main__":
    sys.exit(main())
