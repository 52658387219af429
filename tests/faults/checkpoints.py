"""Checkpoints cut short and altered at every offset: noticed, the one before is used, and the rest is folded again."""

from __future__ import annotations

import os
import random
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from server.learning.checkpoints import Checkpoints
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, Cluster
from tests.faults.load import Load
from tests.faults.watch import Watch, wait_said
from tests.server.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.harness import Service

_BAD = "a bad checkpoint; using the one before"
# Small ones, and so many that two may be damaged.
_SETTINGS = {"learner": {"checkpoint_every": 50, "keep_checkpoints": 4}}


def checkpoints(folder: Path, rounds: int, seed: int) -> Outcome:
    """A learner resumes from the newest checkpoint that is whole, and comes to the same state."""
    rng = random.Random(seed)
    longest = 0.0
    with Cluster(folder, _SETTINGS) as cluster:
        learner, servers = cluster.learners[0], cluster.servers
        with Watch(servers) as watch, Load([node.port for node in servers], seed=seed) as load:
            files = Checkpoints(learner.folder.checkpoints(APP))
            eventually("some checkpoints", lambda: len(files.versions()) >= 3)
            restarts = max(2, rounds // 5)
            for number in range(restarts):
                assert learner.stop() == 0
                if number == 0:
                    shutil.copytree(learner.folder.checkpoints(APP), folder / "checkpoints")
                # Odd ones: the two newest, and the follower too has to begin from an older one.
                started = time.monotonic()
                _resume_before(learner, 1 + number % 2, rng)
                watch.wait_newer()
                longest = max(longest, time.monotonic() - started)
        assert load.failed == 0, f"{load.failed} calls failed: {load.error}"
        settle(cluster, load)
        outcome = check(cluster, "checkpoints damaged", load, watch=watch)
    damaged, size = _everywhere(folder / "checkpoints", rng, range(8) if rounds >= 10 else None)
    note = (
        f"a checkpoint of {size:,} bytes cut and altered at every offset; {restarts} real restarts"
    )
    return replace(outcome, injected=damaged + restarts, recovery=longest, note=note)


def _resume_before(learner: Service, damaged: int, rng: random.Random) -> None:
    """Starts it with that many damaged checkpoints; it says so, and repairs them."""
    files = Checkpoints(learner.folder.checkpoints(APP))
    *_, good = files.versions()[:-damaged]
    bad = files.versions()[-damaged:]
    for version in bad:
        path = learner.folder.checkpoints(APP) / f"{version:020}.ckpt"
        data = bytearray(path.read_bytes())
        if rng.random() < 0.5:
            del data[rng.randrange(len(data)) :]
        else:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    if damaged > 1:
        for path in learner.folder.root.glob("apps/*/merged.sqlite*"):
            path.unlink()
    since = learner.log.stat().st_size
    learner.start()
    for version in bad:
        wait_said(learner, _BAD, since, process="learner", version=version)
    wait_said(learner, "resumed", since, process="learner", version=good)


def _everywhere(folder: Path, rng: random.Random, bits: range | None) -> tuple[int, int]:
    """Cuts the newest checkpoint at every offset, and turns one bit, or all of these, in each of its bytes.

    Returns:
        (damages, bytes of the checkpoint)
    """
    files = Checkpoints(folder)
    *_, before, newest = files.versions()
    assert [c.version for c in files.newest()][:2] == [newest, before]
    path = folder / f"{newest:020}.ckpt"
    whole = path.read_bytes()
    damages = 0

    def refused(what: str) -> None:
        nonlocal damages
        damages += 1
        with capture_logs() as said:
            assert next(files.newest()).version == before, f"not noticed: {what}"
        assert [(entry["event"], entry["version"]) for entry in said] == [(_BAD, newest)]

    with path.open("r+b") as file:
        for at, byte in enumerate(whole):
            for bit in bits or [rng.randrange(8)]:
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), at)
                refused(f"bit {bit} of byte {at} turned")
            os.pwrite(file.fileno(), bytes([byte]), at)
        assert next(files.newest()).version == newest, "it is whole again"
        for at in reversed(range(len(whole))):
            os.truncate(file.fileno(), at)
            refused(f"cut after {at} bytes")
    return damages, len(whole)
