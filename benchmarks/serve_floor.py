"""The floor: a bare grpc.aio server that takes the same requests and answers with as many bytes, and does nothing else.

    python -m benchmarks.serve_floor PORT REPLY_BYTES

Same grpcio, same socket options, no serializers, one process. Below this no Python server on grpcio can come.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc

SERVICE = "rankd.v1.Decisions"


async def serve(port: int, reply: bytes) -> None:
    """Serves until killed; says so on standard output."""

    async def rank(_request: bytes, _context: Any) -> bytes:
        return reply

    async def rank_stream(_: Any, context: Any) -> None:
        while await context.read() is not grpc.aio.EOF:
            await context.write(reply)

    options = (("grpc.so_reuseport", 1), ("grpc.max_receive_message_length", 64 << 20))
    server = grpc.aio.server(options=options)
    unary: Any = grpc.unary_unary_rpc_method_handler
    stream: Any = grpc.stream_stream_rpc_method_handler
    methods = {"Rank": unary(rank), "RankStream": stream(rank_stream)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("serving", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), bytes(int(sys.argv[2]))))
