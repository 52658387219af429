"""serve-03: what happens when more is asked of a service than it can do.

    python -m benchmarks.overload

First the most that it does (closed loop). Then five times as many calls in flight, which a service should take in its stride;
and calls at 1.5 times that rate however long answers take, of which it has to refuse some, soon and in words that tell a client
when to come again: over 8 connections, where clients hold back what is more than `server.max_streams` on each, and over 64, where that
allows more than the service can hold. All the while one client calls ten times a second, and an operator asks for its health.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import h2load, serve_requests, serve_targets
from benchmarks.probes import Watch, ask
from benchmarks.reports import result
from benchmarks.serve_runs import CONNECTIONS, EACH, Call
from rankd.v1.decisions_pb2_grpc import DecisionsStub
from tests.server.harness import Service

if TYPE_CHECKING:
    from benchmarks.h2load import Load
    from rankd.v1.decisions_pb2 import RankRequest

# The goals that the project has set itself.
TIMES = 5  # as many calls in flight as at the peak
GOODPUT_CLOSED = 0.9  # of the peak
RATE = 1.5  # of the peak
MANY = 64  # connections
GOODPUT_OPEN = 0.3
MEMORY = 1.1  # of what it was at the peak
MEMORY_BYTES = 32 << 20  # and so much more: buffers of connections
RECOVERY = 5.0  # seconds until calls take as long again as before
CALM = 2.0  # times the p99 before is as long as before
ACTIONS = 10
# Answered probes in a row that are as fast as before.
_IN_A_ROW = 5
# Seconds without load, before and (at most) after.
_BEFORE, _AFTER = 5.0, 30.0
# Calls at once of which a service that takes one at a time has to refuse some.
_RIVALS = 32
# Of a message on the wire, beside its bytes.
_PREFIX = 5


def recovered(watch: Watch, end: float, limit_ms: float) -> float:
    """Seconds from the end of the load to the first of several fast answers in a row; infinite where there are none."""
    row = 0
    for probe in watch.calls:
        fast = probe.code == "OK" and probe.ms <= limit_ms
        row = row + 1 if probe.at >= end and fast else 0
        if row == 1:
            first = probe.at
        if row == _IN_A_ROW:
            return max(0.0, first - end)
    return float("inf")


def hints(folder: Path, request: RankRequest, edge: str) -> Counter[tuple[str, bool]]:
    """(status, whether it says when to come again) of calls at once, to a service that takes one at a time."""
    config = serve_requests.config("dense", edge=edge)
    config["server"]["max_in_flight"] = 1
    found: Counter[tuple[str, bool]] = Counter()
    with Service(folder / "narrow", config) as service, ThreadPoolExecutor(_RIVALS) as pool:
        stub = DecisionsStub(service.channel)  # type: ignore[no-untyped-call]
        for _ in range(20):
            found.update(pool.map(lambda _: ask(stub, request), range(_RIVALS)))
            if any(code == "RESOURCE_EXHAUSTED" for code, _ in found):
                break
    return found


@dataclass
class Seen:
    """What came of the loads: goodputs in decisions a second, and what was seen beside each."""

    peak: float
    crowd: float
    flood: float
    many: float  # connections, and the same rate
    calm: Watch
    at_peak: Watch
    crowded: Watch
    flooded: Watch
    end: float  # of the last load, time.monotonic()

    @property
    def back(self) -> float:
        return recovered(self.flooded, self.end, CALM * self.calm.p99_ms())


def measure(folder: Path, request: RankRequest, seconds: float, edge: str) -> Seen:
    """The loads, one after the other, on one service."""
    with serve_targets.journalled(folder, "dense", [ACTIONS], edge=edge) as it:
        size = it.reply_bytes("dense", ACTIONS)
        post = Call.of("unary", "dense", ACTIONS, size).post

        def good(load: Load) -> float:
            """Answers a second that are decisions: an error has no body."""
            return load.data_bytes / (size + _PREFIX) / seconds

        with Watch(it.service, request) as calm:
            time.sleep(_BEFORE)
        with Watch(it.service, request) as at_peak:
            before = good(h2load.flood(it.port, post, seconds, CONNECTIONS, EACH))
        with Watch(it.service, request) as crowded:
            crowd = good(h2load.flood(it.port, post, seconds, CONNECTIONS, EACH * TIMES))
        # Again, since what else the machine does may have changed.
        after = good(h2load.flood(it.port, post, seconds, CONNECTIONS, EACH))
        peak = (before + after) / 2
        flood = good(h2load.steady_for(it.port, post, RATE * peak, seconds))
        time.sleep(_BEFORE)
        with Watch(it.service, request) as flooded:
            many = good(h2load.steady_for(it.port, post, RATE * peak, seconds, MANY))
            end = time.monotonic()
            seen = Seen(peak, crowd, flood, many, calm, at_peak, crowded, flooded, end)
            while seen.back == float("inf") and time.monotonic() < end + _AFTER:
                time.sleep(0.1)
        return seen


def judged(seen: Seen, refusals: Counter[tuple[str, bool]]) -> dict[str, bool]:
    """The bars."""
    crowd, flood, many = (each / seen.peak for each in (seen.crowd, seen.flood, seen.many))
    most, allowed = max(seen.crowded.memory), MEMORY * max(seen.at_peak.memory) + MEMORY_BYTES
    told, untold = (refusals["RESOURCE_EXHAUSTED", hint] for hint in (True, False))
    in_flight, rate = f"{TIMES} times the calls in flight", f"{RATE} times the rate"
    bars = {
        f"{in_flight}: {crowd:.2f} of peak, at least {GOODPUT_CLOSED}": crowd >= GOODPUT_CLOSED,
        f"{in_flight}: {most / 2**20:.0f} MB at most, {allowed / 2**20:.0f} allowed": most
        <= allowed,
        f"{rate}: {flood:.2f} of peak, at least {GOODPUT_OPEN}": flood >= GOODPUT_OPEN,
        f"{rate}, {MANY} connections: {many:.2f} of peak, at least {GOODPUT_OPEN}": many
        >= GOODPUT_OPEN,
        f"{rate}: calm again after {seen.back:.1f} s, at most {RECOVERY:g}": seen.back <= RECOVERY,
        f"{told} of {told + untold} refusals say when to come again": told > 0 == untold,
    }
    for what, watch in ((in_flight, seen.crowded), (rate, seen.flooded)):
        answered, asked = sum(watch.health), len(watch.health)
        bars[f"{what}: {answered} of {asked} health checks answered"] = answered == asked
    return bars


def main() -> int:
    """Prints the figures; exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load")
    parser.add_argument("--edge", choices=("grpcio", "envoy"), default="", help="server.edge")
    asked = parser.parse_args()
    h2load.require()
    request = serve_requests.request("dense", ACTIONS)
    with tempfile.TemporaryDirectory() as name:
        refusals = hints(Path(name), request, asked.edge)
        seen = measure(Path(name), request, asked.seconds, asked.edge)
    figures = {
        "peak_per_s": seen.peak,
        "crowded_per_s": seen.crowd,
        "flooded_per_s": seen.flood,
        "flooded_by_many_per_s": seen.many,
        "calm_p99_ms": seen.calm.p99_ms(),
        "peak_p99_ms": seen.at_peak.p99_ms(),
        "crowded_p99_ms": seen.crowded.p99_ms(),
        "flooded_p99_ms": seen.flooded.p99_ms(),
        "flooded_codes": dict(Counter(p.code for p in seen.flooded.calls if p.at < seen.end)),
        "recovery_s": seen.back,
        "memory_peak_mb": max(seen.at_peak.memory) / 2**20,
        "memory_crowded_mb": max(seen.crowded.memory) / 2**20,
        "memory_flooded_mb": max(seen.flooded.memory) / 2**20,
    }
    for key, value in figures.items():
        print(f"{key:<18} {value:,.1f}" if isinstance(value, float) else f"{key:<18} {value}")
    return result("serve-03", judged(seen, refusals), edge=asked.edge or "default", figures=figures)


if __name__ == "__main__":
    sys.exit(main())
