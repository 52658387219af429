"""A bare gRPC echo as an ASGI application, for Envoy with Python inside (`pyvoy benchmarks.echo_app`): what the fast edge costs at least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Bytes of the frame's head and of an ordinary RankReply to transport-02's question.
_HEAD, REPLY_BYTES = 5, 330
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/grpc")],
    "trailers": True,
}
_TRAILERS = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}
# As long as all answers are.
_REPLY_HEAD = b"\0" + REPLY_BYTES.to_bytes(4, "big")


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answers with the request's first bytes."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    reply = _REPLY_HEAD + body[_HEAD : _HEAD + REPLY_BYTES].ljust(REPLY_BYTES, b"\0")
    await send(_START)
    await send({"type": "http.response.body", "body": reply})
    await send(_TRAILERS)
