"""Callers that go while their call waits at a silent journal: the log says that nobody saw the decision.

The service lets in one call at a time: that it refuses another one tells that the first has come to the journal.
"""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from rankd.v1 import decisions_pb2 as api
from server.edges.grpc_frames import frame
from tests.edges.conftest import configured, full
from tests.edges.test_grpc import asked, journal_stopped, refused, undelivered
from tests.edges.test_http import ASKED, GRPC, JSON, RANK
from tests.server.harness import CALL, Service, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def service(edge: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp(edge) / "data"
    with Service(folder, configured(edge, max_in_flight=1)) as running:
        yield running


@contextmanager
def silent(service: Service) -> Iterator[None]:
    """Stops the journal, once nothing of an earlier test waits for it."""
    eventually("the calls before to be over", lambda: not full(service))
    with journal_stopped(service):
        yield


def wait_until_at_journal(service: Service) -> None:
    eventually("the call to come to the journal", lambda: full(service))


def cancel(service: Service, call: Any) -> None:
    """Ends the call. When this returns the server has read so: it has read what came later by the same connection."""
    call.cancel()
    refused(service.decisions.Rank, asked(app="nothing"))


def let_it_be_noticed() -> None:
    """Gives the edge time to look whether its caller is still there, which Envoy's does four times a second.

    Nothing outside tells that it has looked. The log must say the same if it has not: then it hears of it as it answers.
    """
    threading.Event().wait(0.5)


def wait_undelivered(service: Service, event: str) -> None:
    eventually("the log to say that nobody saw it", partial(undelivered, service, event))


def test_cancel(service: Service) -> None:
    with silent(service):
        call = service.decisions.Rank.future(asked("gone"), timeout=CALL)
        wait_until_at_journal(service)
        cancel(service, call)
        let_it_be_noticed()
    wait_undelivered(service, "gone")


def test_cancel_of_a_batch(service: Service) -> None:
    batch = api.RankBatchRequest(requests=[asked("batch 1"), asked("batch 2")])
    with silent(service):
        call = service.decisions.RankBatch.future(batch, timeout=CALL)
        wait_until_at_journal(service)
        cancel(service, call)
    for event in ("batch 1", "batch 2"):
        wait_undelivered(service, event)


def test_cancel_of_a_stream(service: Service) -> None:
    with silent(service):
        call = service.decisions.RankStream(iter([asked("streamed")]), timeout=CALL)
        wait_until_at_journal(service)
        cancel(service, call)
    wait_undelivered(service, "streamed")


@pytest.mark.parametrize("edge", ["envoy"], indirect=True)
@pytest.mark.parametrize("headers", [JSON, GRPC], ids=["json", "grpc"])
def test_a_caller_that_hangs_up(service: Service, headers: dict[str, str]) -> None:
    """By HTTP/1.1, where all there is to see is the end of the connection."""
    event = f"hung up {headers['content-type']}"
    body = frame(asked(event).SerializeToString())
    if headers is JSON:
        body = json.dumps({**ASKED, "eventId": event}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=CALL)
    with silent(service):
        connection.request("POST", RANK, body, headers)
        wait_until_at_journal(service)
        connection.close()
        let_it_be_noticed()
    wait_undelivered(service, event)
