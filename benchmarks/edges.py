"""transport-02: what one whole Rank costs on each edge, against a bare echo by grpc.aio.

What: `rankd serve` with one worker, one app (linucb), K = 10 actions and vectors of 32 numbers for the context and for each
action; every decision is in the journal before it is answered. h2load (Debian: nghttp2-client) sends the same bytes to every
target, 64 calls in flight on 4 connections. The echo is a grpc.aio server that gives the request's first bytes back, without
parsing anything. CPU is user + system time of all processes of the target, from /proc: worker, Envoy, writer, learner and
supervisor. Targets take turns (A B C, A B C, ...); printed are medians over rounds, with the lowest and the highest. Before the
load each target answers the official client once, and its decisions are counted afterwards.

    python -m benchmarks.edges --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import grpc
import numpy as np

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
REPLY_BYTES = 330  # of an ordinary RankReply to this question
TICKS = os.sysconf("SC_CLK_TCK")


def question() -> bytes:
    """The request, without an event_id: each is an event of its own."""
    numbers = np.random.default_rng(1)
    actions = {f"action-{i}": {"v": numbers.normal(size=DIMENSIONS)} for i in range(ACTIONS)}
    request = rank_request({"v": numbers.normal(size=DIMENSIONS)}, actions, app="default")
    request.event_id = ""
    return request.SerializeToString()


async def echo(port: int) -> None:
    """A server that does nothing, until killed."""

    async def answer(data: bytes, _: object) -> bytes:
        return data[:REPLY_BYTES]

    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("rankd.v1.Decisions", {"Rank": handler}),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


class Target:
    """What is measured: a port, the processes behind it, and how many decisions they have logged."""

    def __init__(self, name: str, port: int, pids: list[int], service: Service | None) -> None:
        self.name = name
        self.port = port
        self._pids = pids
        self._service = service
        self.calls: list[float] = []  # per second
        self.cpu: list[float] = []  # microseconds for each call

    def seconds(self) -> float:
        """User and system time of all processes so far."""
        total = 0
        for pid in self._pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def decisions(self) -> int | None:
        return None if self._service is None else len(self._service.records(pb.KIND_DECISION))

    def load(self, body: Path, calls: int) -> None:
        before, logged = self.seconds(), self.decisions()
        command = [
            "h2load",
            "-n",
            str(calls),
            "-c",
            str(CONNECTIONS),
            "-m",
            str(IN_FLIGHT // CONNECTIONS),
        ]
        headers = ["content-type: application/grpc", "te: trailers", "grpc-timeout: 10S"]
        for header in headers:
            command += ["-H", header]
        command += ["-d", str(body), f"http://127.0.0.1:{self.port}{RANK}"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        self.cpu.append((self.seconds() - before) / calls * 1e6)
        found = re.search(r"([\d.]+) req/s", output)
        assert found, output
        self.calls.append(float(found[1]))
        if logged is not None and self.decisions() != logged + calls:
            raise RuntimeError(f"{self.name}: {self.decisions()} decisions, not {logged + calls}")


@contextmanager
def bare() -> Iterator[Target]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.edges", "--echo", str(port)]
    with subprocess.Popen(command) as process:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                call: Any = channel.unary_unary(RANK)
                call(b"", timeout=60, wait_for_ready=True)
            yield Target("bare grpc.aio echo", port, [process.pid], None)
        finally:
            process.kill()


@contextmanager
def served(edge: str, folder: Path) -> Iterator[Target]:
    with Service(folder / edge, {"server": {"edge": edge}}) as service:
        yield Target(edge, service.port, list(service.pids().values()), service)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--echo", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo:
        asyncio.run(echo(options.echo))
        return
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        body = folder / "body"
        body.write_bytes(frame(question()))
        targets = [stack.enter_context(bare())]
        targets += [stack.enter_context(served(edge, folder)) for edge in get_args(Edge)]
        for target in targets:  # models, libraries, HTTP/2 windows
            target.load(body, max(options.calls // 5, IN_FLIGHT))
            target.calls.clear()
            target.cpu.clear()
        for _ in range(options.rounds):
            for target in targets:
                target.load(body, options.calls)
    print("| server | CPU per call, us | calls/s |\n|---|---|---|")
    for target in targets:
        figures = [
            f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"
            for values in (target.cpu, target.calls)
        ]
        print(f"| {target.name} | {' | '.join(figures)} |")


if __name__ == "__main__":
    main()
