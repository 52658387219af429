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

from server.serving import connect
from server.serving.calls import Call, Calls, Stop
from server.serving.errors import UnavailableError
from server.serving.grpc_frames import (
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
from server.serving.methods import Code, GoneError, Streaming, Unary, failure, parsed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.serving.methods import Methods

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Headers = dict[bytes, bytes]

log = structlog.get_logger("envoy")

# Seconds for a unary request's body to come, once its first bytes have: a caller must not hold a place for nothing.
_BODY_SECONDS = 30.0

_TYPE = (b"content-type", b"application/grpc")
_START = {"type": "http.response.start", "status": 200, "headers": [_TYPE], "trailers": True}
_START_GZIP = _START | {"headers": [_TYPE, (b"grpc-encoding", b"gzip")]}
_OK = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}
_END = {"type": "http.response.body", "body": b""}
_REASONS = {
    Stop.DEADLINE: (Code.DEADLINE_EXCEEDED, "the deadline has passed"),
    Stop.STOPPING: (Code.UNAVAILABLE, "the server stops; retry"),
}


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

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One HTTP request."""
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"")
        call = self.calls.begin(receive)
        try:
            if kind[:16] == b"application/grpc" and kind[16:17] in (b"", b"+", b";"):
                await self._grpc(scope["path"], headers, call, send)
            else:
                await self._http(scope, headers, call, send)
        except GoneError:
            pass
        except asyncio.CancelledError:
            if call.stop is None:
                raise
            call.uncancel()
            if call.stop is not Stop.GONE:
                await _refuse(send, call, *_REASONS[call.stop])
        finally:
            self.calls.end(call)

    # -- gRPC --------------------------------------------------------------------------------------

    async def _grpc(self, path: str, headers: Headers, call: Call, send: Send) -> None:
        method = self._methods.get(path)
        if method is None:
            return await _refuse(send, call, Code.UNIMPLEMENTED, f"no method {path[:200]}")
        if self.calls.stopping:
            return await _refuse(send, call, *_REASONS[Stop.STOPPING])
        encoding = headers.get(b"grpc-encoding", b"identity")
        if encoding not in (b"identity", b"gzip", b"deflate"):
            text = f"grpc-encoding {encoding[:50].decode('latin-1')} is not supported"
            accepted = (b"grpc-accept-encoding", ACCEPTED)
            return await _refuse(send, call, Code.UNIMPLEMENTED, text, accepted)
        try:
            if isinstance(method, Unary):
                return await self._unary(method, headers, encoding, call, send)
            if b"grpc-timeout" in headers:
                call.within(seconds(headers[b"grpc-timeout"]))
            return await self._streaming(method, encoding, call, send)
        except GoneError:
            raise
        except TooLargeError as error:
            code, text = Code.RESOURCE_EXHAUSTED, f"request: {error}"
        except TimeoutError:
            code, text = Code.DEADLINE_EXCEEDED, "request: took too long to come"
        except FrameError as error:
            code, text = Code.INTERNAL, f"request: {error}"
        except Exception as error:
            code, text = failure(error)
        return await _refuse(send, call, code, text)

    async def _unary(
        self, method: Unary, headers: Headers, encoding: bytes, call: Call, send: Send
    ) -> None:
        message = await call.receive()
        timeout = headers.get(b"grpc-timeout")
        if timeout is not None:  # not earlier, since this `receive` cannot be cancelled
            call.within(seconds(timeout))
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
        async with asyncio.timeout(_BODY_SECONDS):
            while (data := frames.next()) is None:
                if not more:
                    raise FrameError("ends before its message does")
                message = await call.next()
                if "body" not in message:
                    raise GoneError
                frames.feed(message["body"])
                more = message["more_body"]
        return data

    async def _streaming(self, method: Streaming, encoding: bytes, call: Call, send: Send) -> None:
        frames = Frames(self._limit, encoding != b"identity")
        packed = encoding == b"gzip"
        more = True

        async def read() -> bytes | None:
            nonlocal more
            while (data := frames.next()) is None:
                if not more:
                    if not frames.empty:
                        raise FrameError("ends before its message does")
                    call.read = True
                    return None
                message = await call.next()
                if "body" not in message:
                    raise GoneError
                frames.feed(message["body"])
                more = message["more_body"]
            call.read = method.one
            return data

        async def write(data: bytes) -> None:
            body = gzip_frame(data) if packed else frame(data)
            try:
                if not call.started:
                    call.started = True
                    await send(_START_GZIP if packed else _START)
                await send({"type": "http.response.body", "body": body, "more_body": True})
            except OSError as error:
                raise GoneError from error

        try:
            await method.run(read, write)
        except BaseExceptionGroup as group:
            raise _first(group) from group
        call.answering()
        if not call.started:
            await send(_START)
        await _ended(send, _OK)

    # -- Connect and JSON --------------------------------------------------------------------------

    async def _http(self, scope: dict[str, Any], headers: Headers, call: Call, send: Send) -> None:
        more: tuple[tuple[bytes, bytes], ...] = ()
        try:
            try:
                headers_out, body = await self._connect(scope, headers, call)
                await send({"type": "http.response.start", "status": 200, "headers": headers_out})
                await send({"type": "http.response.body", "body": body})
                return
            except GoneError:
                return
            except asyncio.CancelledError:
                if call.stop is None:
                    raise
                call.uncancel()
                if call.stop is Stop.GONE:
                    return
                code, text = _REASONS[call.stop]
                status = connect.status_of(code)
            except connect.HttpError as error:
                status, text, more = error.status, str(error), error.headers
                code = connect.code_of(status)
            except TooLargeError as error:
                code, text, status = Code.RESOURCE_EXHAUSTED, f"request: {error}", 413
            except TimeoutError:
                code, text, status = Code.DEADLINE_EXCEEDED, "request: took too long to come", 408
            except Exception as error:
                code, text = failure(error)
                status = connect.status_of(code)
            start = [(b"content-type", connect.JSON), *more]
            await send({"type": "http.response.start", "status": status, "headers": start})
            await send({"type": "http.response.body", "body": connect.error_body(code, text)})
        except OSError:
            pass  # nobody waits for it

    async def _connect(
        self, scope: dict[str, Any], headers: Headers, call: Call
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        method = self._methods.get(scope["path"])
        if method is None:
            raise connect.HttpError(404, f"no method {scope['path'][:200]}")
        if scope["method"] != "POST":
            raise connect.HttpError(405, "calls are POSTs", (b"allow", b"POST"))
        if self.calls.stopping:
            raise UnavailableError(_REASONS[Stop.STOPPING][1])
        form = connect.Format.of(headers)
        if not isinstance(method, Unary):
            raise connect.HttpError(501, "streams are for gRPC clients")
        timeout = connect.deadline(headers)
        if timeout is not None:
            call.within(timeout)
        body = bytearray()
        async with asyncio.timeout(_BODY_SECONDS):
            more = True
            while more:
                message = await call.next()
                if "body" not in message:
                    raise GoneError
                body += message["body"]
                if len(body) > self._limit:
                    raise TooLargeError(f"more than {self._limit} bytes")
                more = message["more_body"]
        request = form.request(method.request, bytes(body), self._limit)
        call.read = True
        reply = await method.call(request)
        call.answering()
        # There are no trailers whose sending would tell.
        if "body" not in await call.receive():
            if method.lost is not None:
                method.lost(request, reply)
            raise GoneError
        return form.reply(reply)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a stream whose parts run side by side."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


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
