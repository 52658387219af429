"""A bare gRPC echo as an ASGI application, for Envoy with Python inside (`pyvoy benchmarks.echo_app`): what the fast edge costs at least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Of an ordinary RankReply to transport-02's question.
REPLY_BYTES = 330
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/grpc")],
    "trailers": True,
}
_TRAILERS = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}
_REPLY = b"\0" + REPLY_BYTES.to_bytes(4, "big") + bytes(REPLY_BYTES)


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Reads the request, and answers with zeros."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send({"type": "http.response.body", "body": _REPLY})
    await send(_TRAILERS)
