"""The Envoy edge: the methods as an ASGI application, which speaks gRPC, Connect and JSON. Envoy has the port.

pyvoy runs the application inside Envoy's process, on an event loop of its own thread. What goes between the two threads
costs more than anything that is done here, so a unary call takes as few messages as there can be: the body, and
the reply with its trailers. Nobody waits for the end of a request that is whole, or asks whether the caller is still there:
a reply that cannot be handed over says so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from server.edges.asgi_connect import ConnectCalls
from server.edges.calls import BODY_SECONDS, REASONS, Call, Calls, Stop
from server.edges.grpc_frames import (
    ACCEPTED,
    HEAD,
    FrameError,
    Frames,
    TooLargeError,
    frame,
    gzip_frame,
    percent_encoded,
    seconds,
)
from server.edges.methods import (
    PUSHBACK,
    Code,
    Streaming,
    Unary,
    failure,
    parsed,
    retry_after,
)
from server.edges.streams import GoneError, first

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.edges.methods import Methods

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Headers = dict[bytes, bytes]

log = structlog.get_logger("envoy")

_TYPE = (b"content-type", b"application/grpc")
_START = {"type": "http.response.start", "status": 200, "headers": [_TYPE], "trailers": True}
_START_GZIP = _START | {"headers": [_TYPE, (b"grpc-encoding", b"gzip")]}
_OK = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}
_PUSHBACK = PUSHBACK.encode()
_END = {"type": "http.response.body", "body": b""}


class EnvoyApp:
    """The ASGI application of one worker.

    Args:
        methods: by path; may be filled later.
        max_message_bytes: of a request; a longer one is RESOURCE_EXHAUSTED.
    """

    def __init__(self, methods: Methods, max_message_bytes: int) -> None:
        self._methods = methods
        self._limit = max_message_bytes
        self.calls = Calls()
        self._connect = ConnectCalls(methods, max_message_bytes, self.calls)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One HTTP request."""
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"")
        call = self.calls.begin(receive)
        try:
            if kind[:16] == b"application/grpc" and kind[16:17] in (b"", b"+", b";"):
                await self._grpc(scope["path"], headers, call, send)
            else:
                await self._connect.serve(scope, headers, call, send)
        except GoneError:
            pass
        except asyncio.CancelledError:
            if call.stop is None:
                raise
            call.uncancel()
            if call.stop is not Stop.GONE:
                await _refuse(send, call, *REASONS[call.stop])
        finally:
            self.calls.end(call)

    # -- gRPC --------------------------------------------------------------------------------------

    async def _grpc(self, path: str, headers: Headers, call: Call, send: Send) -> None:
        method = self._methods.get(path)
        if method is None:
            return await _refuse(send, call, Code.UNIMPLEMENTED, f"no method {path[:200]}")
        if self.calls.stopping:
            return await _refuse(send, call, *REASONS[Stop.STOPPING])
        encoding = headers.get(b"grpc-encoding", b"identity")
        if encoding not in (b"identity", b"gzip", b"deflate"):
            text = f"grpc-encoding {encoding[:50].decode('latin-1')} is not supported"
            accepted = (b"grpc-accept-encoding", ACCEPTED)
            return await _refuse(send, call, Code.UNIMPLEMENTED, text, accepted)
        try:
            if isinstance(method, Unary):
                return await self._unary(method, headers, encoding, call, send)
            return await self._streaming(method, headers, encoding, call, send)
        except GoneError:
            raise
        except Exception as error:
            code, text = _wrong(error)
            again = retry_after(error)
        if again is None:
            return await _refuse(send, call, code, text)
        return await _refuse(send, call, code, text, (_PUSHBACK, b"%d" % round(1000 * again)))

    async def _unary(
        self, method: Unary, headers: Headers, encoding: bytes, call: Call, send: Send
    ) -> None:
        limit = headers.get(b"grpc-timeout")
        timeout = None if limit is None else seconds(limit)
        # This `receive` does not bear to be cancelled, and nearly always comes at once: so no timer yet, but a look now and then.
        call.due = call.began + (BODY_SECONDS if timeout is None else min(timeout, BODY_SECONDS))
        message = await call.receive()
        call.due = None
        if timeout is not None:
            call.within(timeout)
        body = message.get("body")
        if body is None:
            raise GoneError
        size = len(body) - HEAD
        # Nearly every request comes at once, as it is.
        if not (
            size >= 0 and not body[0] and int.from_bytes(body[1:HEAD], "big") == size <= self._limit
        ):
            data = await self._gathered(body, message["more_body"], encoding, call)
        else:
            data = body[HEAD:]
        call.read = True
        request = parsed(method.request, data)
        reply = await method.call(request)
        call.answering()
        data = reply.SerializeToString()
        # Who compresses gets it compressed; every client says that it could, and most want it fast.
        if encoding == b"gzip":
            await send(_START_GZIP)
            body = gzip_frame(data)
        else:
            await send(_START)
            body = frame(data)
        try:
            await send({"type": "http.response.body", "body": body})
            await send(_OK)
        except OSError:
            if method.lost is not None:
                method.lost(request, reply)

    async def _gathered(self, body: bytes, more: bool, encoding: bytes, call: Call) -> bytes:
        """The only message of a request that comes in pieces, compressed, or wrong."""
        frames = Frames(self._limit, encoding != b"identity")
        frames.feed(body)
        async with asyncio.timeout(BODY_SECONDS):
            while (data := frames.next()) is None:
                if not more:
                    raise FrameError("ends before its message does")
                more = await _fed(frames, call)
        return data

    async def _streaming(
        self, method: Streaming, headers: Headers, encoding: bytes, call: Call, send: Send
    ) -> None:
        if b"grpc-timeout" in headers:
            call.within(seconds(headers[b"grpc-timeout"]))
        frames = Frames(self._limit, encoding != b"identity")
        stream = _Stream(call, send, frames, encoding == b"gzip", method.one)
        try:
            await method.run(stream.read, stream.write)
        except BaseExceptionGroup as group:
            raise first(group) from group
        call.answering()
        await stream.end()


class _Stream:
    """Both directions of one stream.

    Args:
        packed: messages go out compressed.
        one: the client sends a single message.
    """

    def __init__(self, call: Call, send: Send, frames: Frames, packed: bool, one: bool) -> None:
        self._call = call
        self._send = send
        self._frames = frames
        self._start, self._framed = (_START_GZIP, gzip_frame) if packed else (_START, frame)
        self._one = one
        self._more = True

    async def read(self) -> bytes | None:
        while (data := self._frames.next()) is None:
            if not self._more:
                if not self._frames.empty:
                    raise FrameError("ends before its message does")
                self._call.read = True
                return None
            self._more = await _fed(self._frames, self._call)
        self._call.read = self._one
        return data

    async def write(self, data: bytes) -> None:
        body = self._framed(data)
        try:
            await self._begin()
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
        except OSError as error:
            raise GoneError from error

    async def end(self) -> None:
        await self._begin()
        await _ended(self._send, _OK)

    async def _begin(self) -> None:
        if not self._call.started:
            self._call.started = True
            await self._send(self._start)


async def _fed(frames: Frames, call: Call) -> bool:
    """Takes the next piece of a request; whether there are more."""
    message = await call.next()
    if "body" not in message:
        raise GoneError
    frames.feed(message["body"])
    more: bool = message["more_body"]
    return more


def _wrong(error: Exception) -> tuple[Code, str]:
    """Code and message, also of what is wrong with the bytes of a gRPC call."""
    if isinstance(error, TooLargeError):
        return Code.RESOURCE_EXHAUSTED, f"request: {error}"
    if isinstance(error, TimeoutError):
        return Code.DEADLINE_EXCEEDED, "request: took too long to come"
    if isinstance(error, FrameError):
        return Code.INTERNAL, f"request: {error}"
    return failure(error)


async def _ended(send: Send, trailers: dict[str, Any]) -> None:
    try:
        await send(_END)
        await send(trailers)
    except OSError:
        pass  # nobody waits for it


async def _refuse(
    send: Send, call: Call, code: Code, text: str, *headers: tuple[bytes, bytes]
) -> None:
    """Ends a call that is not answered: without a body, where none has begun."""
    status = [(b"grpc-status", b"%d" % code), (b"grpc-message", percent_encoded(text)), *headers]
    if call.started:
        return await _ended(send, {"type": "http.response.trailers", "headers": status})
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [_TYPE, *status]})
        await send(_END)
    except OSError:
        pass  # nobody waits for it
