"""serve-02: decisions in a processor second, beside services made of FastAPI and a bandit library.

    python -m benchmarks.serve_peers

Ten actions, a context of 32 numbers, LinUCB (Vowpal Wabbit: SquareCB). Peers keep no log; rankd journals every decision, and its processor
seconds are those of all its processes. Peers get environments of their own (--peers-dir), as in the other benchmarks.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import h2load, serve_requests, serve_targets
from benchmarks.environments import DEFAULT_FOLDER, python_of, version_of
from benchmarks.h2load import Post
from benchmarks.reports import result, table
from benchmarks.serve_runs import Call, Cost, measure
from tests.server.harness import free_port

if TYPE_CHECKING:
    from benchmarks.serve_targets import Program, Target

# Library -> how many times as many decisions in a processor second rankd has to make.
PEERS = {"mabwiser": 3.0, "vowpalwabbit": 1.0}
ACTIONS = 10
# HTTP/1.1 has one call at a time on a connection; as many in flight as rankd gets.
_CONNECTIONS = 32
_LEAST_BYTES = len('{"action":"action-0"}')


def peer(stack: ExitStack, library: str, folder: Path) -> Program:
    """The peer's service, running."""
    python, port = python_of(f"serve-{library}", folder), free_port()
    command = [str(python), "-m", "benchmarks.serve_peer_app", library, str(port)]
    return stack.enter_context(serve_targets.started(library, command, port))


def question() -> Call:
    """The same context as rankd is asked about, as JSON."""
    vector = serve_requests.request("context", ACTIONS).context[0].vector_data
    context = np.frombuffer(vector, "<f4").astype(float).tolist()
    body = json.dumps({"context": context}).encode()
    return Call(Post("/rank", body, is_grpc=False), _LEAST_BYTES, connections=_CONNECTIONS, each=1)


def main() -> int:
    """Prints the figures; exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers-dir", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--peer", action="append", choices=list(PEERS), help="default: all")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements; their median counts")
    parser.add_argument("--edge", choices=("grpcio", "envoy"), default="", help="server.edge")
    asked = parser.parse_args()
    h2load.require()
    names = asked.peer or list(PEERS)
    versions = {name: version_of(f"serve-{name}", asked.peers_dir) for name in names}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ours = stack.enter_context(
            serve_targets.journalled(Path(folder), "context", [ACTIONS], edge=asked.edge)
        )
        size = ours.reply_bytes("context", ACTIONS)
        calls: list[tuple[Target, Call]] = [
            (peer(stack, name, asked.peers_dir), question()) for name in names
        ]
        unary = Call.of("unary", "context", ACTIONS, size)
        found = measure([(ours, unary), *calls], asked.seconds, asked.rounds)
        batch = Call.of("batch", "context", ACTIONS, size)
        found["rankd, RankBatch"] = measure([(ours, batch)], asked.seconds, asked.rounds)[ours.name]
    _show(found)
    rates = {name: 1e6 / cost.total for name, cost in found.items()}
    bars = {
        f"{name} {versions[name]}: rankd makes {rates['rankd'] / rates[name]:.2f} times as many decisions in a processor second, "
        f"at least {PEERS[name]:g}": rates["rankd"] >= PEERS[name] * rates[name]
        for name in names
    }
    figures = {name: asdict(cost) for name, cost in found.items()}
    return result("serve-02", bars, edge=asked.edge or "default", peers=versions, figures=figures)


def _show(found: dict[str, Cost]) -> None:
    heads = ("", "us each", "decisions a processor second", "a second", "p50 ms", "p99 ms")
    rows = [
        (name, f"{c.total:.0f}", f"{1e6 / c.total:,.0f}", f"{c.rate:,.0f}", f"{c.p50_ms:.1f}", f"{c.p99_ms:.1f}")
        for name, c in found.items()
    ]  # fmt: skip
    table(heads, rows)


if __name__ == "__main__":
    sys.exit(main())
