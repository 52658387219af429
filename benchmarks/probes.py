"""What a patient client and an operator see of a service while others flood it: one call, one health check at a time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks import processor
from rankd.v1.decisions_pb2_grpc import DecisionsStub

if TYPE_CHECKING:
    from rankd.v1.decisions_pb2 import RankRequest
    from tests.server.harness import Service

# Seconds between two probes, and for one to be answered: a client's patience, and that of a usual health check.
_PAUSE = 0.1
CALL_SECONDS = 10.0
HEALTH_SECONDS = 2.0
# What tells a client when to come again: gRFC A6, or google.rpc.RetryInfo among the details, or as HTTP has it.
_HINTS = ("grpc-retry-pushback-ms", "retry-after")


@dataclass(frozen=True, slots=True)
class Probe:
    """One call."""

    at: float  # time.monotonic() when it was sent
    ms: float
    code: str  # OK, or the status
    hint: bool  # whether a refusal says when to come again


@dataclass
class Watch:
    """Probes a service until it is left."""

    service: Service
    request: RankRequest
    calls: list[Probe] = field(default_factory=list)
    health: list[bool] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)  # bytes of workers and writer

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=t) for t in (self._call, self._check)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def p99_ms(self) -> float:
        """Of answered calls; infinite where there were none."""
        took = [probe.ms for probe in self.calls if probe.code == "OK"]
        return float(np.percentile(took, 99)) if took else float("inf")

    def _call(self) -> None:
        stub = DecisionsStub(self.service.connect())  # type: ignore[no-untyped-call]
        while not self._stop.wait(_PAUSE):
            started = time.monotonic()
            code, hint = ask(stub, self.request)
            self.calls.append(Probe(started, (time.monotonic() - started) * 1000, code, hint))

    def _check(self) -> None:
        stub = health_pb2_grpc.HealthStub(self.service.connect())
        pids = [pid for role, pid in self.service.pids().items() if role.startswith("w")]
        while not self._stop.wait(_PAUSE):
            try:
                reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
                self.health.append(reply.status == health_pb2.HealthCheckResponse.SERVING)
            except grpc.RpcError:
                self.health.append(False)
            self.memory.append(sum(processor.resident(pid) for pid in pids))


def ask(stub: DecisionsStub, request: RankRequest) -> tuple[str, bool]:
    """(status, whether a refusal says when to come again) of one call."""
    try:
        stub.Rank(request, timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        trailers: dict[str, Any] = {m.key: m.value for m in error.trailing_metadata() or ()}
        details = trailers.get("grpc-status-details-bin", b"")
        hinted = any(name in trailers for name in _HINTS) or b"google.rpc.RetryInfo" in details
        return str(error.code().name), hinted
    return "OK", False
