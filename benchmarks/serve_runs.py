"""One measurement: the same calls to several targets in turn, and what each costs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import h2load, serve_requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.serve_targets import Target

# Calls in flight: enough that a server is never idle. Unary calls share connections, a stream has one of its own.
CONNECTIONS = 8
EACH = 4
# Bytes of one stream's messages: what h2load holds for each connection.
_STREAM_BYTES = 2 << 20
# Of a run's time, what goes before to find out how much fits.
_WARM_UP = 0.25


@dataclass(frozen=True, slots=True)
class Call:
    """One method with one body."""

    name: str  # unary, batch, stream
    method: str
    body: bytes
    decisions: int  # in one call
    each: int  # in flight on one connection

    @classmethod
    def of(cls, name: str, kind: str, actions: int) -> Call:
        if name == "unary":
            return cls(name, "Rank", serve_requests.unary(kind, actions), 1, EACH)
        if name == "batch":
            body = serve_requests.batch(kind, actions)
            return cls(name, "RankBatch", body, serve_requests.BATCH, 1)
        size = len(serve_requests.unary(kind, actions))
        messages = min(512, max(16, _STREAM_BYTES // size))
        body = serve_requests.stream(kind, actions, messages)
        return cls(name, "RankStream", body, messages, 1)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one decision; medians over rounds."""

    us: dict[str, float]  # processor microseconds by role
    rate: float  # decisions a second of the wall clock
    p50_ms: float  # of a call
    p99_ms: float

    @property
    def total(self) -> float:
        """Of all processes."""
        return sum(self.us.values())

    @property
    def answering(self) -> float:
        """Of those that an answer waits for."""
        return self.us.get("worker", 0.0) + self.us.get("writer", 0.0)


class RefusedError(RuntimeError):
    """Calls were answered with errors, so there is nothing to measure."""


def measure(
    targets: Sequence[Target], call: Call, reply_bytes: int, seconds: float, rounds: int
) -> dict[str, Cost]:
    """Name of the target -> cost. Targets take turns, so that what else the machine does disturbs all alike.

    Args:
        reply_bytes: of one decision's reply; tells answers from errors.

    Raises:
        RefusedError: see there.
    """
    calls = {target.name: _fitting(target, call, seconds) for target in targets}
    found: dict[str, list[Cost]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            found[target.name].append(_once(target, call, reply_bytes, calls[target.name]))
    return {name: _median(costs) for name, costs in found.items()}


def _fitting(target: Target, call: Call, seconds: float) -> int:
    """How many calls take about so long; warms the server up on the way."""
    least = CONNECTIONS * call.each
    count, took = least, 0.0
    while took < seconds * _WARM_UP:
        load = h2load.closed(target.port, call.method, call.body, count, CONNECTIONS, call.each)
        target.settle(count * call.decisions)
        took, rate = load.seconds, load.rate
        count *= 4
    return max(least, round(rate * seconds))


def _once(target: Target, call: Call, reply_bytes: int, calls: int) -> Cost:
    before = target.cpu()
    load = h2load.closed(target.port, call.method, call.body, calls, CONNECTIONS, call.each)
    decisions = calls * call.decisions
    if load.calls < calls or load.data_bytes < 0.8 * reply_bytes * decisions:
        raise RefusedError(
            f"{target.name}: {load.calls} of {calls} calls ended, with {load.data_bytes} bytes"
        )
    answered = target.cpu()
    target.settle(decisions)
    after = target.cpu()
    # The learner may finish later; the others have nothing to do with what it still reads.
    until = {role: after[role] if role == "learner" else answered[role] for role in after}
    us = {role: (until[role] - before.get(role, 0.0)) * 1e6 / decisions for role in after}
    return Cost(us, load.rate * call.decisions, load.p50_ms, load.p99_ms)


def _median(costs: Sequence[Cost]) -> Cost:
    us = {role: statistics.median(cost.us[role] for cost in costs) for role in costs[0].us}
    return Cost(
        us,
        statistics.median(cost.rate for cost in costs),
        statistics.median(cost.p50_ms for cost in costs),
        statistics.median(cost.p99_ms for cost in costs),
    )
