"""What is measured: the service as it is, the service without its journal, and the floor, each with its processor time by role."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from benchmarks import processor, serve_requests
from benchmarks.environments import ROOT
from tests.server.harness import Service, eventually, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# Of a service without its journal: they only tick.
_IDLE = {"supervisor", "writer", "learner"}
# Seconds for a learner to fold what a run has left it, on two busy cores.
_PATIENCE = 120.0


class Target(Protocol):
    """A server on a port of this machine."""

    name: str

    @property
    def port(self) -> int: ...

    def cpu(self) -> dict[str, float]:
        """Processor seconds so far, by role."""
        ...

    def settle(self, decisions: int) -> None:
        """Returns when all has been done that so many decisions cause.

        Raises:
            TimeoutError: fewer decisions were made.
        """
        ...


@dataclass
class Journalled:
    """`rankd serve`: supervisor, writer, learner, workers."""

    service: Service
    name: str = "rankd"
    decided: int = 0  # so far

    @property
    def port(self) -> int:
        return self.service.port

    def cpu(self) -> dict[str, float]:
        return _cpu(self.service)

    def reply_bytes(self, kind: str, actions: int) -> int:
        """Size of a reply, from one call."""
        reply = self.service.decisions.Rank(serve_requests.request(kind, actions), timeout=20)
        self.settle(1)
        return len(bytes(reply.SerializeToString()))

    def settle(self, decisions: int) -> None:
        """Waits until the learner has read them all; so it is known, too, that every one was journalled."""
        self.decided += decisions
        eventually(f"{self.decided} decisions", self._folded, _PATIENCE)

    def _folded(self) -> bool:
        status = json.loads(self.service.folder.status("default").read_bytes())
        return bool(status["counters"]["decisions"] >= self.decided)


@dataclass
class Unjournalled:
    """The same, but that workers acknowledge appends themselves. Writer and learner are there, and idle."""

    service: Service
    name: str = "no journal"

    @property
    def port(self) -> int:
        return self.service.port

    def cpu(self) -> dict[str, float]:
        return {role: s for role, s in _cpu(self.service).items() if role not in _IDLE}

    def settle(self, decisions: int) -> None:
        pass


@dataclass
class Program:
    """A server that is one process, or some that share a port: the bare echo, a peer."""

    processes: Sequence[subprocess.Popen[str]]
    port: int
    name: str

    def cpu(self) -> dict[str, float]:
        pids = [process.pid for process in self.processes]
        return {"worker": sum(processor.seconds(pid, {pid: "worker"})["worker"] for pid in pids)}

    def settle(self, decisions: int) -> None:
        pass


def _cpu(service: Service) -> dict[str, float]:
    """By role, workers together."""
    pids = service.pids()
    roles = {pid: role.split("-")[0] for role, pid in pids.items()}
    return processor.seconds(pids["supervisor"], roles)


@contextmanager
def journalled(
    folder: Path,
    kind: str,
    counts: list[int],
    workers: int = 1,
    edge: str = "",
    **more: object,
) -> Iterator[Journalled]:
    """A service with a model that has learned; `more` are settings of its section `server`."""
    config = serve_requests.config(kind, workers, edge, **more)
    with Service(folder / f"{kind}-{workers}", config) as it:
        target = Journalled(it)
        trained = serve_requests.train(it.decisions, kind, counts)
        target.settle(trained)
        it.wait_counters(matured=trained)
        time.sleep(1)  # for the last model to reach the workers
        yield target


@contextmanager
def unjournalled(
    folder: Path, kind: str, counts: list[int], edge: str = "", **more: object
) -> Iterator[Unjournalled]:
    """The same service without its journal; what it is trained with is journalled."""
    config = serve_requests.config(kind, 1, edge, **more)
    with Service(folder / f"{kind}-unjournalled", config) as it:
        trained = serve_requests.train(it.decisions, kind, counts)
        it.wait_counters(matured=trained)
    paths = [str(ROOT / "benchmarks" / "unjournalled"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with Service(folder / f"{kind}-unjournalled", config, environment) as it:
        yield Unjournalled(it)


@contextmanager
def started(name: str, command: Sequence[str], port: int, processes: int = 1) -> Iterator[Program]:
    """A server of one process, or of some that share the port; each prints a line once it serves."""
    running: list[subprocess.Popen[str]] = []
    with ExitStack() as stack:
        for _ in range(processes):
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            running.append(stack.enter_context(process))
            stack.callback(process.kill)
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError(f"{name} did not start: {' '.join(command)}")
        yield Program(running, port, name)


@contextmanager
def floor(reply_bytes: int, processes: int = 1) -> Iterator[Program]:
    """The echo, which answers with so many bytes."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serve_floor", str(port), str(reply_bytes)]
    with started("echo", command, port, processes) as target:
        yield target
