"""grpcio: a server that stops lets every call hear that it was cancelled, as long as there is somebody to say so in the log."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc

from rankd.v1 import decisions_pb2 as api
from rankd.v1.decisions_pb2_grpc import DecisionsStub
from server.edges.grpc_edge import GrpcEdge
from server.sections import ServerConfig
from tests.server.harness import CALL, free_port

if TYPE_CHECKING:
    from pathlib import Path


class Waiting:
    """Every decision waits for ever."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0

    async def rank(self, _: api.RankRequest) -> api.RankReply:
        self.begun += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError


def test_calls_and_streams_have_ended_when_it_has_stopped(tmp_path: Path) -> None:
    service: Any = Waiting()
    port = free_port()

    async def run() -> int:
        config = ServerConfig(port=port, drain=timedelta(seconds=0.1))
        edge = GrpcEdge(config, port, service, service, tmp_path / "own")
        await edge.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = DecisionsStub(channel)  # type: ignore[no-untyped-call]
            calls = [stub.Rank(api.RankRequest(), timeout=CALL) for _ in range(5)]
            stream = stub.RankStream(timeout=CALL)
            for _ in range(3):
                await stream.write(api.RankRequest())
            while service.begun < len(calls) + 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await edge.stop()
            heard: int = service.cancelled
            await asyncio.gather(*calls, return_exceptions=True)
            stream.cancel()
        return heard

    assert asyncio.run(run()) == 8
