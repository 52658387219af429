"""The fault suite in short: a few faults of most kinds. `python -m tests.faults --rounds 50` is the whole of it.

Left out here is what takes long and what other tests show with less: checkpoints damaged at every offset, wrong clocks and arrival orders (the
virtual cluster), full disks (one node's), several brokers, several learners.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.server.harness import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT = (
    "kill",
    "outage",
    "broker",
    "network",
    "redis",
    "takeover",
    "refusals",
    "rewards",
    "rivals",
    "poison",
    "rolling",
    "dead-server",
)
# Faults under way at a time: clusters wait more than they work.
_TOGETHER = 2

Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Future[Run]]]:
    """Every fault's run, some of them under way while others are looked at."""

    def run(name: str) -> Run:
        command = [sys.executable, "-m", "tests.faults", "--only", name, "--rounds", "2"]
        if record := os.environ.get("RANKD_FAULTS_RECORD"):  # a file that the figures go to
            command += ["--record", record]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(_TOGETHER) as pool:
        yield {name: pool.submit(run, name) for name in SHORT}
        pool.shutdown(cancel_futures=True)


@pytest.mark.usefixtures("can_start_kafka", "can_start_redis")
@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost_doubled_or_changed(name: str, runs: dict[str, Future[Run]]) -> None:
    done = runs[name].result()
    if done.stdout.startswith(f"{name}: skipped"):
        pytest.skip(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-8_000:]}"
