"""What servers serve and what their processes say, observed all the time while faults are injected."""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from policies import state_sha256
from rankd.v1 import internal_pb2
from server.fold.envelope import EnvelopeError, unseal
from tests.faults.cluster import APP
from tests.server.harness import Service, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Seconds between two looks at the model files: shorter than a worker's own, and than the time between two models.
_LOOK = 0.02


@dataclass(frozen=True)
class Seen:
    """A model that lay where a server's workers take theirs from."""

    order: tuple[int, int, int]  # lease, epoch, published_at
    version: int
    sha256: str  # of the policy's state
    at: float  # monotonic seconds


class Watch:
    """Looks at the servers' models between `with` and its end.

    Attributes:
        seen: server -> the models that it has had, in the order in which they came.
        unusable: what was found that is no model; the servers' workers have met it, too.
    """

    def __init__(self, servers: Sequence[Service]) -> None:
        self._paths = {server.folder.root.name: server.folder.snapshot(APP) for server in servers}
        self.seen: dict[str, list[Seen]] = {name: [] for name in self._paths}
        self.unusable: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        known: dict[str, tuple[int, int]] = {}
        while not self._stop.wait(_LOOK):
            for name, path in self._paths.items():
                with contextlib.suppress(FileNotFoundError):
                    stat = path.stat()
                    if known.get(name) != (stat.st_mtime_ns, stat.st_ino):
                        known[name] = (stat.st_mtime_ns, stat.st_ino)
                        self._look(name, path.read_bytes())

    def _look(self, name: str, data: bytes) -> None:
        try:
            model = unseal(internal_pb2.Snapshot, data)
        except EnvelopeError as error:
            self.unusable.append(f"{name}: {error}")
            return
        order = (model.lease, model.epoch, model.published_at)
        seen = Seen(order, model.model_version, state_sha256(model.policy), time.monotonic())
        self.seen[name].append(seen)

    def newest(self) -> dict[str, tuple[int, int, int]]:
        """(lease, epoch, published_at) of each server's model."""
        return {name: seen[-1].order if seen else (0, 0, 0) for name, seen in self.seen.items()}

    def wait_newer(self) -> None:
        """Waits until every server has a newer model than it has now."""
        before = self.newest()
        eventually(
            f"newer models than {before}",
            lambda: all(order > before[name] for name, order in self.newest().items()),
        )

    def wait_lease(self, above: int) -> float:
        """Waits until every server has a model of a higher lease; returns when the last one got its first of these."""

        def reached() -> float | None:
            firsts = [
                next((s.at for s in list(seen) if s.order[0] > above), None)
                for seen in self.seen.values()
            ]
            return None if None in firsts else max(at for at in firsts if at is not None)

        return eventually(f"models of a lease above {above}", reached)

    def check(self, states: Mapping[int, str], last: int) -> int:
        """Holds every model that any server had against the fold of the log; returns how many.

        Args:
            states: sha256 of the policy's state after each record that changed it.
            last: the log's last record; later models cannot be judged.

        Raises:
            AssertionError: a server has gone back to an older model, or had one that is not the log's.
        """
        assert not self.unusable, self.unusable
        versions, judged = sorted(states), 0
        for name, models in self.seen.items():
            for before, after in pairwise(models):
                assert after.order >= before.order, (
                    f"{name} went back from {before.order} to {after.order}"
                )
            for model in models:
                if model.version > last:
                    assert model.order[2] == model.version, f"{name} had a model of no log: {model}"
                    continue
                at = bisect.bisect_right(versions, model.version) - 1
                expected = states[versions[at]] if at >= 0 else None
                # The first model of an epoch is made with the Epoch, before anything has changed it.
                if expected is not None:
                    assert model.sha256 == expected, (
                        f"{name} had a model that is not the log's: {model}"
                    )
                judged += 1
        return judged


def entries(node: Service, since: int = 0) -> list[dict[str, Any]]:
    """What a node's processes have logged, from that byte of the log on."""
    found = []
    for line in node.log.read_bytes()[since:].splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                found.append(entry)
    return found


def wait_said(node: Service, event: str, since: int = 0, /, **fields: object) -> dict[str, Any]:
    """Waits until the node has logged that, with these fields, from that byte on."""

    def said() -> dict[str, Any] | None:
        for entry in entries(node, since):
            if entry.get("event") == event and fields.items() <= entry.items():
                return entry
        return None

    try:
        return eventually(f"{event!r} in the log of {node.folder.root.name}", said)
    except TimeoutError as error:
        raise AssertionError(f"{error}; the log ends:\n{node.tail()}") from None


def wait_alarm(node: Service, alarm: str) -> str:
    """Waits until `rankd status` at that node raises the alarm; returns its text."""

    def raised() -> str | None:
        return next((found.text for found in node.status(APP).alarms if found.id == alarm), None)

    return eventually(f"alarm {alarm}", raised)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Holds a process by SIGSTOP."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def goes_on(what: str, figure: Callable[[], int]) -> None:
    """Waits until a figure is greater than it is now."""
    before = figure()
    eventually(f"{what} beyond {before}", lambda: figure() > before)
