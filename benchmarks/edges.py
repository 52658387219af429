"""transport-02: what one whole Rank costs on each edge, against a bare echo by grpc.aio.

What: `rankd serve` with one worker, one app (linucb), K = 10 actions and vectors of 32 numbers for the context and for each
action; every decision is in the journal before it is answered. h2load (Debian: nghttp2-client) sends the same bytes to every
target, 64 calls in flight on 4 connections. The echo is a grpc.aio server that answers with as many bytes as a Rank is answered with, without
parsing anything; beside it stands one on Envoy with Python inside, and those of other versions of grpcio, if asked for. CPU is user + system time of all processes of the target, from /proc: worker, Envoy, writer, learner and
supervisor. Targets take turns (A B C, A B C, ...); printed are medians over rounds, with the lowest and the highest. Before the
load each target answers the official client once, and its decisions are counted afterwards.

    python -m benchmarks.edges --rounds 5 --grpcio 1.85.1
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import grpc
import numpy as np

from benchmarks import h2load, processor
from benchmarks.echo_app import REPLY_BYTES
from benchmarks.environments import ROOT
from benchmarks.grpcio_versions import make_python
from rankd.messages import rank_request
from rankd.v1 import log_pb2 as pb
from server.edges.grpc_frames import frame
from server.sections import Edge
from tests.server.harness import Service, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

RANK = "/rankd.v1.Decisions/Rank"
IN_FLIGHT, CONNECTIONS = 64, 4
ACTIONS, DIMENSIONS = 10, 32


def question() -> bytes:
    """The request, without an event_id: each is an event of its own."""
    numbers = np.random.default_rng(1)
    actions = {f"action-{i}": {"v": numbers.normal(size=DIMENSIONS)} for i in range(ACTIONS)}
    request = rank_request({"v": numbers.normal(size=DIMENSIONS)}, actions, app="default")
    request.event_id = ""
    return request.SerializeToString()


class Target:
    """What is measured: a port, the processes behind it, and how many decisions they have logged."""

    def __init__(self, name: str, port: int, pid: int, service: Service | None) -> None:
        self.name = name
        self.port = port
        self._pid = pid  # that has started all others
        self._service = service
        self.calls: list[float] = []  # per second
        self.cpu: list[float] = []  # microseconds for each call
        self.late: list[float] = []  # 99th percentile, milliseconds

    def seconds(self) -> float:
        """User and system time of all processes so far."""
        return sum(processor.seconds(self._pid, {}).values())

    def decisions(self) -> int | None:
        return None if self._service is None else len(self._service.records(pb.KIND_DECISION))

    def load(self, post: h2load.Post, calls: int) -> None:
        before, logged = self.seconds(), self.decisions()
        done = h2load.closed(self.port, post, calls, CONNECTIONS, IN_FLIGHT // CONNECTIONS)
        if done.calls != calls:
            raise RuntimeError(f"{self.name}: {done.calls} of {calls} calls succeeded")
        self.cpu.append((self.seconds() - before) / calls * 1e6)
        self.calls.append(done.rate)
        self.late.append(done.p99_ms)
        if logged is not None and self.decisions() != logged + calls:
            raise RuntimeError(f"{self.name}: {self.decisions()} decisions, not {logged + calls}")

    def forget(self) -> None:
        """What was measured so far was to warm up."""
        for figures in (self.cpu, self.calls, self.late):
            figures.clear()


@contextmanager
def started(name: str, command: list[str], port: int) -> Iterator[Target]:
    """A server without a service behind it, once it answers."""
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                call: Any = channel.unary_unary(RANK)
                call(b"", timeout=60, wait_for_ready=True)
            yield Target(name, port, process.pid, None)
        finally:
            process.terminate()


@contextmanager
def bare(python: str = sys.executable, version: str = grpc.__version__) -> Iterator[Target]:
    """The echo by grpc.aio."""
    port = free_port()
    command = [python, "-m", "benchmarks.serve_floor", str(port), str(REPLY_BYTES)]
    with started(f"bare echo, grpc.aio {version}", command, port) as target:
        yield target


@contextmanager
def bare_envoy() -> Iterator[Target]:
    """The echo in Envoy."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("pyvoy")), "benchmarks.echo_app"]
    # One thread for the transport, as the service has.
    command += ["--port", str(port), "--", "--concurrency", "1"]
    with started("bare echo, Envoy", command, port) as target:
        yield target


@contextmanager
def served(edge: str, folder: Path) -> Iterator[Target]:
    with Service(folder / edge, {"server": {"edge": edge}}) as service:
        yield Target(edge, service.port, service.pids()["supervisor"], service)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--grpcio", action="append", default=[], help="a version for another echo")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        post = h2load.Post(RANK, frame(question()))
        targets = [stack.enter_context(bare()), stack.enter_context(bare_envoy())]
        targets.extend(
            stack.enter_context(bare(make_python(version, folder), version))
            for version in options.grpcio
        )
        targets += [stack.enter_context(served(edge, folder)) for edge in get_args(Edge)]
        for target in targets:  # models, libraries, HTTP/2 windows
            target.load(post, max(options.calls // 5, IN_FLIGHT))
            target.forget()
        for _ in range(options.rounds):
            for target in targets:
                target.load(post, options.calls)
    print("| server | CPU per call, us | calls/s | p99, ms |\n|---|---|---|---|")
    for target in targets:
        figures = [
            f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
            for values, digits in ((target.cpu, 0), (target.calls, 0), (target.late, 1))
        ]
        print(f"| {target.name} | {' | '.join(figures)} |")


if __name__ == "__main__":
    main()
