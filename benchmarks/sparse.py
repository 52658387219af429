"""policies-03: a million distinct string features: rounds a second, what strings cost beside, and memory.

Why: ids of users and items are strings, and there is no end of them. A policy must stay fast and small all the same.

What: each of 20 actions has 20 features, all strings, and the context has one. Rounds go through all 10^6 action features in a
random order, again and again: 400 a round, so that every 2,500 rounds have seen each once. A feature has a hidden weight;
the reward of an action is the sum of its weights, and noise. Rounds are made and encoded in blocks, outside of the
policy's clock: pmf, draw and learn with features already encoded, encoding from strings beside it, then both.

Bar: at least 5,000 rounds a second from encoded features. Exit code 1 if it is missed.

    python -m benchmarks.sparse
    python -m benchmarks.sparse --policy sgd explorer=epsilon bits=20
    python -m benchmarks.sparse --policy vw --rounds 2500
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.environments import ONE_THREAD
from benchmarks.reports import missing, result, table
from policies import Interaction
from policies.features import encode_actions, encode_context
from policies.registry import create
from policies.sampler import draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from policies import ActionSet, Features

FEATURES = 1_000_000
ACTIONS, EACH = 20, 20
USERS = 10_000  # distinct values of the context's one feature
NOISE = 0.1
BLOCK = 250  # rounds
GOAL = 5_000.0  # rounds a second


@dataclass(frozen=True, slots=True)
class _Context:
    """One string, in the shape that `encode_context` reads."""

    user: str
    namespace: str = "user"
    numeric_names: Sequence[str] = ()
    numeric_values: Sequence[float] = ()
    vector_names: Sequence[str] = ()
    vector_sizes: Sequence[int] = ()
    vector_data: bytes = b""

    @property
    def categorical_names(self) -> Sequence[str]:
        return ["id"]

    @property
    def categorical_values(self) -> Sequence[str]:
        return [self.user]


@dataclass(frozen=True, slots=True)
class _Items:
    """Strings of K things, in the shape that `encode_actions` reads."""

    categorical_values: Sequence[str]
    categorical_names: Sequence[str]
    categorical_counts: Sequence[int]
    namespace: str = "item"
    numeric_counts: Sequence[int] = ()
    numeric_names: Sequence[str] = ()
    numeric_values: Sequence[float] = ()
    vector_size: int = 0
    vector_data: bytes = b""


def strings(rounds: int, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """The numbers of each round's features [ACTIONS * EACH]; each of all features once before any comes again."""
    per_round = ACTIONS * EACH
    left = np.empty(0, np.intp)
    for _ in range(rounds):
        if len(left) < per_round:
            left = rng.permutation(FEATURES)
        now, left = left[:per_round], left[per_round:]
        yield now


def play(spec: dict[str, Any], rounds: int, seed: int) -> dict[str, Any]:
    """Plays; processor seconds of both parts, reward beside the best and chance, and memory."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=FEATURES) / np.sqrt(EACH)
    policy = create(spec, (-4.0, 4.0))
    ids = [f"item-{k:02}" for k in range(ACTIONS)]
    # A field holds several values (tags), so all of an action's features may have one name.
    names, counts = ["tag"] * (ACTIONS * EACH), [EACH] * ACTIONS
    source = strings(rounds, rng)
    base = _peak_mb()
    encoding = deciding = wall = earned = best = 0.0
    done = late_rounds = 0
    late = 0.0  # earned in the last quarter
    while done < rounds:
        block = [now for _, now in zip(range(min(BLOCK, rounds - done)), source, strict=False)]
        values = [[f"tag-{number}" for number in now.tolist()] for now in block]
        users = [f"user-{u}" for u in rng.integers(0, USERS, len(block)).tolist()]
        cpu = process_time()
        encoded: list[tuple[Features, ActionSet]] = [
            (encode_context([_Context(user)]), encode_actions(ids, [_Items(each, names, counts)]))
            for user, each in zip(users, values, strict=True)
        ]
        encoding += process_time() - cpu
        expected = [weight[now].reshape(ACTIONS, EACH).sum(axis=1) for now in block]
        noise = (NOISE * rng.normal(size=len(block))).tolist()
        us = rng.random(len(block)).tolist()
        seeds = rng.integers(0, 2**63, len(block)).tolist()
        chosen = []
        cpu, clock = process_time(), perf_counter()
        for t, (context, actions) in enumerate(encoded):
            pmf = policy.pmf(context, actions, seeds[t]).pmf
            k = draw(pmf, us[t])
            reward = float(expected[t][k]) + noise[t]
            policy.learn([Interaction(context, actions, k, pmf, reward)])
            chosen.append(k)
        deciding += process_time() - cpu
        wall += perf_counter() - clock
        gains = [float(e[k]) for e, k in zip(expected, chosen, strict=True)]
        earned += sum(gains)
        best += sum(float(e.max()) for e in expected)
        done += len(block)
        if done > 0.75 * rounds:
            late += sum(gains)
            late_rounds += len(block)
    return {
        "rounds": rounds,
        "encoded_per_s": rounds / deciding,
        "encoded_per_wall_s": rounds / wall,
        "strings_us": 1e6 * encoding / rounds,
        "from_strings_per_s": rounds / (deciding + encoding),
        "reward": earned / rounds,
        "best_reward": best / rounds,
        "late_reward": late / late_rounds,
        "state_mb": len(policy.state()) / 2**20,
        "peak_mb": _peak_mb(),
        "peak_mb_before": base,
    }


def main() -> int:
    """Prints the figures; exit code 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--policy", nargs="+", default=["sgd"], help="type setting=value ...")
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.environ.update(ONE_THREAD)  # BLAS has read them already: once more, from the start
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.sparse", *sys.argv[1:]])
    spec: dict[str, Any] = {"type": args.policy[0]}
    for setting in args.policy[1:]:
        name, _, value = setting.partition("=")
        try:
            spec[name] = json.loads(value)
        except json.JSONDecodeError:
            spec[name] = value
    if why := missing(spec):
        parser.error(f"{spec}: {why}")
    got = play(spec, args.rounds, args.seed)
    rows = [
        ["pmf, draw, learn, encoded before", f"{got['encoded_per_s']:,.0f} rounds/cpu s"],
        ["the same", f"{got['encoded_per_wall_s']:,.0f} rounds/wall s"],
        ["encoding from 401 strings", f"{got['strings_us']:,.0f} us a round"],
        ["both", f"{got['from_strings_per_s']:,.0f} rounds/cpu s"],
        ["reward, all rounds", f"{got['reward']:.3f} (best {got['best_reward']:.3f}, chance 0)"],
        ["reward, last quarter", f"{got['late_reward']:.3f}"],
        ["state", f"{got['state_mb']:.1f} MB"],
        ["memory at the highest", f"{got['peak_mb']:.0f} MB ({got['peak_mb_before']:.0f} before)"],
    ]
    table([str(spec), ""], rows)
    speed = got["encoded_per_s"]
    bars = {f"{speed:,.0f} rounds a second, at least {GOAL:,.0f}": speed >= GOAL}
    return result("policies-03", bars, policy=spec, **got)


def _peak_mb() -> float:
    # On Linux in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
