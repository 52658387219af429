"""No room left under a server's journal, under a learner's log and models, and under its checkpoints alone."""

from __future__ import annotations

import contextlib
import errno
import random
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc

from rankd.v1 import decisions_pb2 as api
from server.learning.checkpoints import Checkpoints
from tests.faults.checks import CannotInjectError, Outcome, check, settle
from tests.faults.cluster import APP, Cluster
from tests.faults.load import ACTIONS, Load
from tests.faults.watch import Watch, goes_on, wait_alarm, wait_said
from tests.server.harness import CALL, eventually

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.server.harness import Service

# Bytes. A cluster under load writes some 300 kB a second into journals and merged logs.
_JOURNAL, _APPS, _CHECKPOINTS = 128 << 20, 256 << 20, 8 << 20
_SETTINGS = {"learner": {"checkpoint_every": 50}}
_FULL = "RESOURCE_EXHAUSTED: the journal cannot be written: no room left on the device"


def disk(folder: Path, rounds: int, seed: int) -> Outcome:
    """Calls say that there is no room; what was there stays; with room again everything goes on by itself."""
    rng = random.Random(seed)
    apps = folder / "learner-0" / "apps"
    longest = 0.0
    with (
        _small(folder / "server-0", _JOURNAL) as journal,
        _small(apps, _APPS) as merged,
        _small(apps / APP / "checkpoints", _CHECKPOINTS) as checkpoints,
        Cluster(folder, _SETTINGS) as cluster,
    ):
        full, other = cluster.servers
        learner = cluster.learners[0]
        with (
            Watch(cluster.servers) as watch,
            Load([full.port], name="full", seed=seed) as refused,
            Load([other.port], name="other", seed=seed) as served,
        ):
            files = Checkpoints(learner.folder.checkpoints(APP))
            eventually("some checkpoints", lambda: len(files.versions()) >= 2)
            faults: list[Callable[[], None]] = [
                lambda: _journal(full, journal, refused, served),
                lambda: _merged(cluster, learner, merged, refused, served),
                lambda: _checkpoints(learner, checkpoints, watch),
            ]
            for _ in range(max(1, rounds // 5)):
                rng.shuffle(faults)
                for fault in faults:
                    fault()
                    healed = time.monotonic()
                    watch.wait_newer()
                    goes_on("checkpoints", lambda: files.versions()[-1])
                    goes_on("decisions", lambda: refused.decisions)
                    longest = max(longest, time.monotonic() - healed)
        assert refused.failed > 0
        assert served.failed == 0, f"{served.failed} calls failed: {served.error}"
        settle(cluster, refused, served)
        outcome = check(cluster, "no room on the disk", refused, served, watch=watch)
    return replace(outcome, injected=3 * max(1, rounds // 5), recovery=longest)


def _journal(full: Service, disk: _Disk, refused: Load, served: Load) -> None:
    """The server refuses and says why; the other one goes on."""
    writer = full.pids()["writer"]
    with disk.full():

        def refusal() -> str | None:
            request = api.RankRequest(action_ids=ACTIONS)
            try:
                full.decisions.Rank(request, timeout=CALL)
            except grpc.RpcError as error:
                return f"{error.code().name}: {error.details()}"
            return None

        assert eventually("a refusal", refusal) == _FULL
        failed = refused.failed
        eventually("clients to be refused", lambda: refused.failed > failed)
        assert "RESOURCE_EXHAUSTED" in refused.error or "ResourceExhausted" in refused.error
        goes_on("decisions elsewhere", lambda: served.decisions)
    eventually("room again", lambda: refusal() is None)
    assert full.pids()["writer"] == writer, "it has not even been restarted"


def _merged(cluster: Cluster, learner: Service, disk: _Disk, refused: Load, served: Load) -> None:
    """Nothing more is learned, and the status says so; servers go on with the models that they have."""
    since = learner.log.stat().st_size
    pids = learner.pids()
    with disk.full():
        error = wait_said(learner, "following again after an error", since)["error"]
        assert "database or disk is full" in error
        wait_said(learner, "cannot write the status; going on without", since, process="learner")
        for node in (learner, *cluster.servers):
            wait_alarm(node, "learner-silent")
        goes_on("decisions", lambda: min(refused.decisions, served.decisions))
    assert learner.pids() == pids, "nothing has even been restarted"


def _checkpoints(learner: Service, disk: _Disk, watch: Watch) -> None:
    """Learning goes on without checkpoints, and those that were there stay."""
    since = learner.log.stat().st_size
    files = Checkpoints(learner.folder.checkpoints(APP))
    with disk.full():
        wait_said(learner, "cannot checkpoint; going on without", since)
        versions = files.versions()
        watch.wait_newer()
        assert files.versions() == versions
        assert [checkpoint.version for checkpoint in files.newest()] == versions[::-1]


class _Disk:
    """A file system of its own."""

    def __init__(self, path: Path) -> None:
        self._ballast = path / "ballast"

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte more fits."""
        try:
            with self._ballast.open("wb", buffering=0) as file:
                for size in (1 << 20, 1 << 12, 1):
                    self._write(file, bytes(size))
            yield
        finally:
            self._ballast.unlink()

    @staticmethod
    def _write(file: io.RawIOBase, data: bytes) -> None:
        try:
            while True:
                file.write(data)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@contextlib.contextmanager
def _small(path: Path, size: int) -> Iterator[_Disk]:
    """A file system of that size in memory, at that path.

    Raises:
        CannotInjectError: only root may make one, and not in every container.
    """
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CannotInjectError("a disk that fills up needs mount(8), as root, on Linux") from error
    if made.returncode:
        raise CannotInjectError(
            f"a disk that fills up is a small tmpfs, which only root may mount: {made.stderr.strip()}"
        )
    try:
        yield _Disk(path)
    finally:
        # Lazily: what still runs after a failure must not keep it.
        subprocess.run(["umount", "--lazy", str(path)], check=True)
