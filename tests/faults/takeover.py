"""The learner that publishes is killed, stopped, or held and set free again: the standby publishes, and the old one no more."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.learning.checkpoints import Checkpoints
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, Cluster
from tests.faults.load import Load
from tests.faults.watch import Watch, wait_said
from tests.server.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rankd.v1 import internal_pb2
    from tests.server.harness import Service

# Seconds from the fault to the first model of the new owner on every server.
_BOUND = 10.0
# Checkpoints stay, so that those of two learners can be compared.
_KEEP = {"checkpoint_every": 200, "keep_checkpoints": 1000}


@dataclass
class _Figures:
    injected: int = 0
    slowest: float = 0.0


def takeover(folder: Path, rounds: int, seed: int) -> Outcome:
    """A standby publishes within ten seconds; no server ever goes back to what the old owner says."""
    rng = random.Random(seed)
    figures = _Figures()
    kinds = [_killed, _held, _stopped]
    outcome = _rounds(folder / "short", "3s", kinds * max(1, rounds // len(kinds)), rng, figures)
    if rounds >= 10:
        later = _rounds(folder / "default", "5s", kinds, rng, figures)
        outcome = replace(
            later,
            decisions=outcome.decisions + later.decisions,
            rewards=outcome.rewards + later.rewards,
            failed=outcome.failed + later.failed,
            learned=outcome.learned + later.learned,
            verified=outcome.verified + later.verified,
            longest_call=max(outcome.longest_call, later.longest_call),
        )
    return replace(outcome, injected=figures.injected, recovery=figures.slowest)


def _rounds(
    folder: Path,
    lease: str,
    kinds: Sequence[Callable[[Service, Callable[[], None]], None]],
    rng: random.Random,
    figures: _Figures,
) -> Outcome:
    settings = {"kafka": {"learner_lease": lease}, "learner": _KEEP}
    with Cluster(folder, settings, learners=2) as cluster:
        servers = cluster.servers
        seed = rng.randrange(1_000_000)
        with Watch(servers) as watch, Load([node.port for node in servers], seed=seed) as load:
            owner = cluster.owner()
            (standby,) = (node for node in cluster.learners if node is not owner)
            for kind in kinds:
                _wait_along(standby, owner)
                before = max(order[0] for order in watch.newest().values())
                started = time.monotonic()

                def taken_over(before: int = before, started: float = started) -> None:
                    took = watch.wait_lease(before) - started
                    figures.slowest = max(figures.slowest, took)
                    assert took <= _BOUND, f"the standby published after {took:.1f} s"

                kind(owner, taken_over)
                owner, standby = standby, owner
                _wait_along(standby, owner)
                assert cluster.owner() is owner
                watch.wait_newer()
                figures.injected += 1
            assert load.failed == 0, f"{load.failed} calls failed: {load.error}"
        settle(cluster, load)
        _wait_along(*cluster.learners)
        compared = _same_checkpoints(*cluster.learners)
        leases = max(order[0] for order in watch.newest().values())
        outcome = check(cluster, "the learner that publishes lost", load, watch=watch)
    note = f"{leases} leases; {compared} checkpoints of both learners equal to the bit"
    return replace(outcome, note=note)


def _wait_along(behind: Service, ahead: Service) -> None:
    """Waits until one learner has folded what the other has folded by now."""
    folded = ahead.status(APP).folded_records
    behind.wait_folded(folded, APP)


# -- the faults; each calls back when the standby is to publish --------------------------------------


def _killed(owner: Service, taken_over: Callable[[], None]) -> None:
    """SIGKILL for the whole node, which comes back as the standby."""
    owner.kill_all()
    taken_over()
    owner.launch()
    owner.wait_serving()


def _stopped(owner: Service, taken_over: Callable[[], None]) -> None:
    """SIGTERM: an orderly stop."""
    owner.terminate()
    taken_over()
    assert owner.wait_stopped() == 0
    owner.launch()
    owner.wait_serving()


def _held(owner: Service, taken_over: Callable[[], None]) -> None:
    """Only the learner process, by SIGSTOP; when it goes on it does not know yet that it has been succeeded."""
    learner, since = owner.pids()["learner"], owner.log.stat().st_size
    os.kill(learner, signal.SIGSTOP)
    try:
        taken_over()
    finally:
        os.kill(learner, signal.SIGCONT)
    wait_said(owner, "another learner publishes now", since)
    assert owner.pids()["learner"] == learner, "it has not even been restarted"


# -- the state ---------------------------------------------------------------------------------------


def _same_checkpoints(one: Service, other: Service) -> int:
    """Compares the checkpoints that both learners have; returns how many."""
    folders = [Checkpoints(node.folder.checkpoints(APP)) for node in (one, other)]

    def common() -> set[int]:
        return set(folders[0].versions()) & set(folders[1].versions())

    versions = eventually("a checkpoint that both have", common)
    for version in versions:
        found = [_fold_of(folder.load(version)) for folder in folders]
        assert found[0] == found[1], f"the learners differ at version {version}"
    return len(versions)


def _fold_of(checkpoint: internal_pb2.Checkpoint) -> bytes:
    """Without where its mirror keeps states of the merge, which depends on where the mirror begins."""
    checkpoint.ClearField("merge_state")
    return checkpoint.SerializeToString(deterministic=True)
