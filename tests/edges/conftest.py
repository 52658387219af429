"""A running service for each edge that there is. A new edge is one more value of `server.sections.Edge`, and is tested by that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import grpc
import pytest

from rankd.v1 import decisions_pb2 as api
from rankd.v1.decisions_pb2_grpc import DecisionsStub
from server.sections import Edge
from tests.server.conftest import pytest_runtest_makereport
from tests.server.harness import CALL, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pytest_runtest_makereport"]

EDGES: tuple[str, ...] = get_args(Edge)
LIMIT = 1 << 20  # bytes of the largest message
CALLS = 100  # in flight


def configured(edge: str, **server: Any) -> dict[str, Any]:
    """The configuration of a service with this edge, and with two apps."""
    return {
        "server": {"edge": edge, "max_message_bytes": LIMIT, **server},
        "learner": {"checkpoint_every": 10, "keep_checkpoints": 500},
        "apps": {"default": {}, "broken": {}},
    }


def full(service: Service) -> bool:
    """Whether a worker has as many calls at its journal as `max_in_flight` allows: it refuses more before it reads them.

    By a connection of its own; where there are several workers, the system picks the one that is asked.
    """
    request = api.RankRequest(app="nothing")
    with service.connect() as channel, pytest.raises(grpc.RpcError) as caught:
        DecisionsStub(channel).Rank(request, timeout=CALL)  # type: ignore[no-untyped-call]
    code = caught.value.code()
    assert code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED)
    return code == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module", params=EDGES)
def edge(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def service(edge: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp(edge) / "data"
    limits = {"max_in_flight": CALLS, "max_streams": 2 * CALLS}
    with Service(folder, configured(edge, journal_timeout="2s", **limits)) as running:
        yield running
