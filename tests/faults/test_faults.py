"""The fault suite in short: a few faults of most kinds. `python -m tests.faults --rounds 50` is the whole of it.

Left out here is what takes long and what other tests show with less: checkpoints damaged at every offset, wrong clocks and arrival orders (the
virtual cluster), full disks (one node's), several brokers, several learners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Runs

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


@pytest.mark.usefixtures("can_start_kafka", "can_start_redis")
@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost_doubled_or_changed(name: str, runs: Runs) -> None:
    done = runs.result(name)
    if done.stdout.startswith(f"{name}: skipped"):
        pytest.skip(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-8_000:]}"
