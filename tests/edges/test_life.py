"""Starting and stopping with either edge: nothing that runs is cut off, nothing new is taken, nothing is left behind."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from rankd.v1 import decisions_pb2 as api
from rankd.v1.decisions_pb2_grpc import DecisionsStub
from tests.edges.conftest import configured, full
from tests.server.harness import CALL, Service, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = api.RankRequest(app="default", action_ids=["a", "b"])


@pytest.fixture
def running(edge: str, tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path / "data", configured(edge, workers=2)) as service:
        yield service


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def well(service: Service, stub: Any) -> bool:
    try:
        return bool(stub.Rank(REQUEST, timeout=CALL))
    except grpc.RpcError:
        return False


def test_a_stop_lets_calls_end_and_takes_no_new_ones(edge: str, tmp_path: Path) -> None:
    config = configured(edge, workers=2, max_in_flight=2)
    with Service(tmp_path / "data", config) as service:
        stub = service.decisions
        slow = threading.Event()

        def requests() -> Iterator[api.RankRequest]:
            yield REQUEST
            assert slow.wait(CALL)
            yield REQUEST

        stream = stub.RankStream(requests(), timeout=CALL)
        assert next(stream).action_id
        service.signal("writer", signal.SIGSTOP)
        slow.set()
        call = stub.Rank.future(REQUEST, timeout=CALL)
        eventually("both calls to come to the journal", lambda: full(service))
        service.terminate()
        eventually("the workers to drain", lambda: service.tail().count('"draining"') == 2)

        def refused() -> bool:
            with pytest.raises(grpc.RpcError) as caught:
                DecisionsStub(service.connect()).Rank(REQUEST, timeout=0.5)  # type: ignore[no-untyped-call]
            return caught.value.code() == grpc.StatusCode.UNAVAILABLE

        eventually("new calls to be refused", refused)
        service.signal("writer", signal.SIGCONT)
        assert call.result().action_id
        assert [reply.error.code for reply in stream] == [0]
        assert service.wait_stopped() == 0


def test_a_stop_is_quick_where_nobody_calls(running: Service) -> None:
    """Also with idle connections, and one that watches."""
    watch = running.health.Watch(health_pb2.HealthCheckRequest())
    next(watch)
    running.terminate()
    assert running.wait_stopped() == 0
    assert "killed" not in running.tail()


def test_clients_come_back(running: Service) -> None:
    """To another worker where theirs has died, and to the service where it was started anew."""
    stub = running.decisions
    for role in ("worker-0", "worker-1"):
        running.kill9(role)
        eventually("the client to be answered again", lambda: well(running, stub))
    eventually("both workers to serve", lambda: running.tail().count('"serving"') >= 4)
    running.kill_all()
    running.launch()
    eventually("the client to be answered again", lambda: well(running, stub))


def test_nothing_outlives_the_supervisor(running: Service) -> None:
    pids = running.pids()
    children = [
        child
        for pid in pids.values()
        if pid != pids["supervisor"]
        for task in os.listdir(f"/proc/{pid}/task")
        for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    ]
    assert not children, "a worker is one process"
    running.kill9("supervisor")
    for pid in pids.values():
        eventually(f"process {pid} to end", partial(gone, pid))


def test_connections_are_spread_over_the_workers(running: Service) -> None:
    """The kernel does it, so some of many connections come to each."""
    stubs = [DecisionsStub(running.connect()) for _ in range(32)]  # type: ignore[no-untyped-call]
    for stub in stubs:
        stub.Rank(REQUEST, timeout=CALL)
    running.signal("worker-0", signal.SIGSTOP)
    calls = [stub.Rank.future(REQUEST, timeout=3) for stub in stubs]
    errors = [call.exception() for call in calls]
    running.signal("worker-0", signal.SIGCONT)
    failed = [error.code() for error in errors if error is not None]
    assert 0 < len(failed) < len(stubs)
    assert set(failed) == {grpc.StatusCode.DEADLINE_EXCEEDED}
