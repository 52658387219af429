"""`rankd demo`: a real service learns a real data set before your eyes, and then proves what it did.

What it shows is decided here and nowhere else; what it runs is what everybody runs: server, learner and client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def run(
    policy: str, seed: int, rounds: int | None, rate: float, data_dir: Path | None, as_json: bool
) -> int:
    """Runs the demo.

    Args:
        policy: a preset: linucb, vw or river.
        seed: of the order of the rows, and of all draws.
        rounds: how many of the 2,310 rows; None means all.
        rate: rounds a second.
        data_dir: an empty folder, or one to be made, where the log is kept. None: a temporary one, removed at the end.
        as_json: the last line of standard output, and its only one, is the result as JSON; the rest goes to standard error.

    Returns:
        The exit code: 0; 1 where the service failed or `verify` found a mismatch; 2 an argument cannot be; 130 Ctrl-C.
    """
    # `python -m rankd.demo.service` passes by here and needs none of it.
    from rankd.demo import session

    return session.run(policy, seed, rounds, rate, data_dir, as_json)
