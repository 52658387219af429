"""Every fault by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.apps import two_learners, two_processes
from tests.faults.broker import broker, leader
from tests.faults.checkpoints import checkpoints
from tests.faults.clocks import clocks
from tests.faults.disk import disk
from tests.faults.kill import kill
from tests.faults.network import network
from tests.faults.outage import outage
from tests.faults.partitions import dead_server, partitions
from tests.faults.poison import poison
from tests.faults.redis_faults import redis_faults
from tests.faults.refusals import refusals
from tests.faults.rewards import rewards
from tests.faults.rivals import rivals
from tests.faults.rolling import rolling
from tests.faults.takeover import takeover

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.checks import Outcome

# name -> function(folder, rounds, seed): injects, checks, and raises AssertionError where anything does not hold.
FAULTS: dict[str, Callable[[Path, int, int], Outcome]] = {
    "kill": kill,
    "broker": broker,
    "leader": leader,
    "outage": outage,
    "network": network,
    "redis": redis_faults,
    "takeover": takeover,
    "checkpoints": checkpoints,
    "refusals": refusals,
    "disk": disk,
    "rewards": rewards,
    "clocks": clocks,
    "rivals": rivals,
    "poison": poison,
    "rolling": rolling,
    "partitions": partitions,
    "dead-server": dead_server,
    "two-processes": two_processes,
    "two-learners": two_learners,
}
