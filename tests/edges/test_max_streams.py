"""A connection has so many calls open at a time: its client holds back the next one, and other connections do not notice."""

from __future__ import annotations

import queue
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from rankd.v1.decisions_pb2_grpc import DecisionsStub
from tests.edges.conftest import configured
from tests.edges.test_grpc import RANK, asked, journal_stopped, raw
from tests.server.harness import CALL, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAMS = 3


@pytest.fixture(scope="module")
def service(edge: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp(edge) / "data"
    with Service(folder, configured(edge, max_streams=STREAMS, journal_timeout="500ms")) as running:
        yield running


def opened(stub: Any, stack: ExitStack) -> queue.SimpleQueue[Any]:
    """A stream that has answered once and stays open until None is put."""
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    requests.put(asked())
    replies = stub.RankStream(iter(requests.get, None), timeout=CALL)
    assert next(replies).action_id
    stack.callback(lambda: list(replies))
    stack.callback(requests.put, None)
    return requests


def test_the_next_call_waits_for_its_turn(service: Service) -> None:
    with service.connect() as channel, ExitStack() as stack:
        stub = DecisionsStub(channel)  # type: ignore[no-untyped-call]
        streams = [opened(stub, stack) for _ in range(STREAMS)]
        waits = stub.Rank.future(asked(), timeout=CALL)
        with service.connect() as another:
            for _ in range(20):  # in which the one that waits would have been answered, too
                DecisionsStub(another).Rank(asked(), timeout=CALL)  # type: ignore[no-untyped-call]
        assert not waits.done()
        streams[0].put(None)
        assert waits.result().action_id


def not_found(service: Service) -> None:
    service.decisions.Rank(asked(app="nothing"), timeout=CALL)


def malformed(service: Service) -> None:
    raw(service, RANK)(b"\xff", timeout=CALL)


def unimplemented(service: Service) -> None:
    raw(service, "/rankd.v1.Decisions/Nothing")(b"", timeout=CALL)


def unavailable(service: Service) -> None:
    with journal_stopped(service):
        service.decisions.Rank(asked(), timeout=CALL)


def late(service: Service) -> None:
    with journal_stopped(service):
        service.decisions.Rank(asked(), timeout=0.2)


def cancelled(service: Service) -> None:
    with journal_stopped(service):
        call = service.decisions.Rank.future(asked())
        with suppress(grpc.FutureTimeoutError):
            call.result(timeout=0.1)
        call.cancel()


def malformed_in_a_stream(service: Service) -> None:
    stream: Any = service.channel.stream_stream("/rankd.v1.Decisions/RankStream")
    list(stream(iter([b"\xff"]), timeout=CALL))


def cancelled_stream(service: Service) -> None:
    replies = service.decisions.RankStream(iter([asked()]))
    next(replies)
    replies.cancel()


def dropped_stream(service: Service) -> None:
    """Cancelled while the server waits for more."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    replies = service.decisions.RankStream(iter(waiting.get, None))
    waiting.put(asked())
    next(replies)
    replies.cancel()
    waiting.put(None)


@pytest.mark.parametrize(
    "end",
    [
        not_found,
        malformed,
        unimplemented,
        unavailable,
        late,
        cancelled,
        malformed_in_a_stream,
        cancelled_stream,
        dropped_stream,
    ],
)
def test_a_call_that_ends_badly_makes_room(
    service: Service, end: Callable[[Service], None]
) -> None:
    """Whatever becomes of calls, there is always room for the next one."""
    for _ in range(3 * STREAMS):
        with suppress(grpc.RpcError):
            end(service)
    for _ in range(3 * STREAMS):
        assert service.decisions.Rank(asked(), timeout=CALL).action_id
