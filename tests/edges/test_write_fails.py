"""grpcio: a reply in a stream that cannot be handed over has been shown to nobody, and is no error of the server's."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import structlog

from rankd.v1 import decisions_pb2 as api
from server.edges.grpc_edge import Handlers, streaming
from server.edges.health import Health
from server.edges.methods import DECISIONS, Streaming, methods_of
from tests.server.harness import CALL


class Service:
    """Decides at once."""

    def __init__(self) -> None:
        self.undelivered: list[str] = []

    async def rank(self, request: api.RankRequest) -> api.RankReply:
        return api.RankReply(event_id=request.event_id)

    def lost(self, app: str, event_id: str) -> None:
        self.undelivered.append(event_id)


class Context:
    """Of a call whose caller goes after two requests, which the server notices when it writes."""

    def __init__(self) -> None:
        self.requests = [
            api.RankRequest(event_id=name).SerializeToString() for name in ("one", "two")
        ]
        self.code: grpc.StatusCode | None = None

    async def read(self) -> object:
        return self.requests.pop(0) if self.requests else await asyncio.Event().wait()

    async def write(self, data: bytes) -> None:
        raise grpc.aio.InternalError("Failed to execute the batch")

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code


def test_its_decision_is_said_to_be_lost() -> None:
    service, context = Service(), Context()
    anything: Any = service
    method = methods_of(anything, anything, Health())[f"/{DECISIONS}/RankStream"]
    assert isinstance(method, Streaming)
    handler: Any = streaming(method, Handlers())

    async def call() -> None:
        async with asyncio.timeout(CALL):
            await handler.stream_stream(None, context)

    with structlog.testing.capture_logs() as logs:
        asyncio.run(call())
    assert service.undelivered == ["one", "two"]
    assert context.code is None
    assert logs == []
