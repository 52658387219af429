"""One measurement: the same calls to several targets in turn, and what each costs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import h2load, serve_requests
from benchmarks.h2load import Post

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.serve_targets import Target

# Calls in flight: enough that a server is never idle. Unary calls share connections, a stream has one of its own.
CONNECTIONS = 8
EACH = 4
_PATH = "/rankd.v1.Decisions"
# Bytes of one stream's messages: what h2load holds for each connection.
_STREAM_BYTES = 2 << 20
# Messages of one stream: so many that opening it does not count.
_MESSAGES = 128
# Of a run's time, what goes before to find out how much fits.
_WARM_UP = 0.25


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it is sent over and over."""

    post: Post
    reply_bytes: int  # of one decision's reply; tells answers from errors
    decisions: int = 1  # in one call
    connections: int = CONNECTIONS
    each: int = EACH  # in flight on one connection

    @classmethod
    def of(cls, name: str, kind: str, actions: int, reply_bytes: int) -> Call:
        """A call of rankd: unary, batch or stream."""
        one = serve_requests.unary(kind, actions)
        if name == "unary":
            return cls(Post(f"{_PATH}/Rank", one), reply_bytes)
        if name == "batch":
            post = Post(f"{_PATH}/RankBatch", serve_requests.batch(kind, actions))
            return cls(post, reply_bytes, serve_requests.BATCH, each=1)
        messages = min(_MESSAGES, max(16, _STREAM_BYTES // len(one)))
        return cls(Post(f"{_PATH}/RankStream", one * messages), reply_bytes, messages, each=1)


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
        return self.total - self.us.get("learner", 0.0)


class RefusedError(RuntimeError):
    """Calls were answered with errors, so there is nothing to measure."""


def measure(calls: Sequence[tuple[Target, Call]], seconds: float, rounds: int) -> dict[str, Cost]:
    """Name of the target -> cost. Targets take turns, so that what else the machine does disturbs all alike.

    Raises:
        RefusedError: see there.
    """
    counts = {target.name: _fitting(target, call, seconds) for target, call in calls}
    found: dict[str, list[Cost]] = {target.name: [] for target, _ in calls}
    for _ in range(rounds):
        for target, call in calls:
            found[target.name].append(_once(target, call, counts[target.name]))
    return {name: _median(costs) for name, costs in found.items()}


def _fitting(target: Target, call: Call, seconds: float) -> int:
    """How many calls take about so long; warms the server up on the way."""
    least = call.connections * call.each
    count, took = least, 0.0
    while took < seconds * _WARM_UP:
        load = h2load.closed(target.port, call.post, count, call.connections, call.each)
        target.settle(count * call.decisions)
        took, rate = load.seconds, load.rate
        count *= 4
    return max(least, round(rate * seconds))


def _once(target: Target, call: Call, count: int) -> Cost:
    before = target.cpu()
    load = h2load.closed(target.port, call.post, count, call.connections, call.each)
    decisions = count * call.decisions
    if load.calls < count or load.data_bytes < 0.8 * call.reply_bytes * decisions:
        raise RefusedError(
            f"{target.name}: {load.calls} of {count} calls ended, with {load.data_bytes} bytes"
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
