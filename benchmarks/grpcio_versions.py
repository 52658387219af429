"""transport-01: what one unary call costs the server's processor, by grpcio version.

Why: at our request sizes the transport, not the model, takes most of the processor time of a
decision, and that cost differs between grpcio releases. The pinned range is chosen from this.

What: each version serves a raw-bytes unary method (600 bytes in, 500 bytes out, no serializers)
from one asyncio loop; with ``--sync`` also from a thread pool. A client of one fixed version drives
it over one channel, with 32 calls in flight and then with one. The server reports its own user +
system time (all its threads), so the client's cost is excluded, and a machine shared with other
work disturbs the figure less than it would a throughput. Versions are interleaved (A B C, A B C,
...), and the printed figures are medians over rounds, with the lowest and highest round. Compare
the ratios to the best version; the absolute microseconds belong to one machine.

    python benchmarks/grpcio_versions.py 1.78.0 1.80.0 1.85.1 --rounds 7
    python benchmarks/grpcio_versions.py 1.78.0 --python 1.78.0=some-venv/bin/python

A version without ``--python`` is installed into a throw-away virtual environment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REQUEST = b"q" * 600
REPLY = b"r" * 500
ADDRESS = "127.0.0.1:0"
IN_FLIGHT = (32, 1)
TIMEOUT_S = 120.0


def cpu_reply() -> bytes:
    """This process's user + system time so far, in nanoseconds."""
    return str(time.process_time_ns()).encode()


def serve(kind: str) -> None:
    """Server process: print the port, then serve until killed."""
    import grpc

    if kind == "sync":
        sync_server = grpc.server(ThreadPoolExecutor(max_workers=8))
        handler = generic_handler(lambda *_: REPLY, lambda *_: cpu_reply())
        sync_server.add_generic_rpc_handlers((handler,))
        announce(sync_server.add_insecure_port(ADDRESS), grpc.__version__)
        sync_server.start()
        sync_server.wait_for_termination()
        return

    async def echo(_request: bytes, _context: Any) -> bytes:
        return REPLY

    async def cpu(_request: bytes, _context: Any) -> bytes:
        return cpu_reply()

    async def run() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((generic_handler(echo, cpu),))
        announce(server.add_insecure_port(ADDRESS), grpc.__version__)
        await server.start()
        await server.wait_for_termination()

    asyncio.run(run())


def generic_handler(echo: Any, cpu: Any) -> Any:
    import grpc

    methods = {"Echo": echo, "Cpu": cpu}
    make: Any = grpc.unary_unary_rpc_method_handler
    handlers = {name: make(function) for name, function in methods.items()}
    return grpc.method_handlers_generic_handler("rankd.bench", handlers)


def announce(port: int, version: str) -> None:
    print(json.dumps({"port": port, "version": version}), flush=True)


async def drive(port: int, calls: int) -> dict[str, float]:
    """Client process: the server's microseconds per call for each number of calls in flight."""
    import grpc

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        echo: Any = channel.unary_unary("/rankd.bench/Echo")
        cpu: Any = channel.unary_unary("/rankd.bench/Cpu")

        async def worker(count: int) -> None:
            for _ in range(count):
                if len(await echo(REQUEST)) != len(REPLY):
                    raise RuntimeError("wrong reply")

        async def load(width: int, total: int) -> int:
            each = total // width
            await asyncio.gather(*(worker(each) for _ in range(width)))
            return each * width

        await echo(REQUEST, wait_for_ready=True)
        await load(32, max(64, calls // 5))  # warm-up: lazy imports, HTTP/2 windows, thread pools
        costs: dict[str, float] = {}
        for width in IN_FLIGHT:
            before = int(await cpu(b""))
            # Sequential calls are slower by the clock; a third of them is enough.
            done = await load(width, calls if width > 1 else max(1, calls // 3))
            costs[str(width)] = (int(await cpu(b"")) - before) / 1000 / done
        return costs


def measure(server: str, client: str, kind: str, version: str, calls: int) -> dict[str, float]:
    """Start one server and one client process; return the client's report."""
    me = str(Path(__file__).resolve())
    child = subprocess.Popen([server, me, "--serve", kind], stdout=subprocess.PIPE, text=True)
    try:
        if child.stdout is None or not (line := child.stdout.readline()):
            raise RuntimeError(f"the {version} server did not start")
        hello = json.loads(line)
        if hello["version"] != version:
            raise RuntimeError(f"asked for grpcio {version}, the server has {hello['version']}")
        command = [client, me, "--drive", str(hello["port"]), "--calls", str(calls)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT_S)
        return {width: float(cost) for width, cost in json.loads(out.stdout).items()}
    finally:
        child.kill()
        child.communicate()


def make_python(version: str, folder: Path) -> str:
    """A virtual environment with one grpcio version; returns its interpreter."""
    venv.create(folder / version, with_pip=True)
    python = str(folder / version / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, f"grpcio=={version}", "protobuf"], check=True)
    return python


def print_table(kind: str, width: int, costs: dict[str, list[float]]) -> None:
    medians = {version: statistics.median(values) for version, values in costs.items()}
    print(f"\n{kind} server, {width} in flight (server user+sys, us per call)")
    print(f"{'grpcio':<10}{'median':>9}{'low':>9}{'high':>9}{'ratio':>8}")
    for version, median in medians.items():
        low, high = min(costs[version]), max(costs[version])
        ratio = median / min(medians.values())
        print(f"{version:<10}{median:>9.1f}{low:>9.1f}{high:>9.1f}{ratio:>8.2f}")


def compare(args: argparse.Namespace) -> None:
    pythons: dict[str, str] = dict(item.split("=", 1) for item in args.python)
    kinds = ("aio", "sync") if args.sync else ("aio",)
    costs: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        for version in dict.fromkeys([*args.versions, args.client]):
            if version not in pythons:
                pythons[version] = make_python(version, Path(folder))
        client = pythons[args.client]
        for number in range(args.rounds):
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
            for version in dict.fromkeys(args.versions):
                for kind in kinds:
                    report = measure(pythons[version], client, kind, version, args.calls)
                    for width in IN_FLIGHT:
                        costs[kind, width][version].append(report[str(width)])
    print(f"python {sys.version.split()[0]}, client {args.client}, {args.calls} calls per round")
    for (kind, width), by_version in costs.items():
        print_table(kind, width, by_version)


def main() -> None:
    parser = argparse.ArgumentParser(description="Server cost of a call, by grpcio version.")
    parser.add_argument("versions", nargs="*")
    parser.add_argument("--python", action="append", default=[], metavar="VERSION=PATH")
    parser.add_argument("--client", default="1.78.0", help="grpcio version of the fixed client")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=6000)
    parser.add_argument("--sync", action="store_true", help="also measure a thread-pool server")
    parser.add_argument("--serve", choices=("aio", "sync"), help=argparse.SUPPRESS)
    parser.add_argument("--drive", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
    elif args.drive:
        print(json.dumps(asyncio.run(drive(args.drive, args.calls))))
    elif args.versions:
        compare(args)
    else:
        parser.error("give at least one grpcio version")


if __name__ == "__main__":
    main()
