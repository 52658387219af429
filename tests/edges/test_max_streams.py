"""A connection has so many calls open at a time: its client holds back the next one, and other connections do not notice."""

from __future__ import annotations

import queue
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from rankd.v1.decisions_pb2_grpc import DecisionsStub
from tests.edges.conftest import configured
from tests.edges.test_grpc import asked
from tests.server.harness import CALL, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS = 3


@pytest.fixture(scope="module")
def service(edge: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp(edge) / "data"
    with Service(folder, configured(edge, max_streams=STREAMS)) as running:
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
