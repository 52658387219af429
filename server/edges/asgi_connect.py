"""Connect and JSON calls of an ASGI edge."""

from __future__ import annotations

import asyncio
from math import ceil
from typing import TYPE_CHECKING, Any

from server.edges import connect
from server.edges.calls import BODY_SECONDS, REASONS, Call, Calls, Stop
from server.edges.grpc_frames import TooLargeError
from server.edges.methods import Code, Methods, Unary, failure, retry_after
from server.edges.streams import GoneError
from server.serving.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Headers = dict[bytes, bytes]


class ConnectCalls:
    """Answers unary calls over HTTP.

    Args:
        methods: by path; may be filled later.
        limit: bytes of the largest request, before and after it was decompressed.
    """

    def __init__(self, methods: Methods, limit: int, calls: Calls) -> None:
        self._methods = methods
        self._limit = limit
        self._calls = calls

    async def serve(self, scope: dict[str, Any], headers: Headers, call: Call, send: Send) -> None:
        """Answers one HTTP request."""
        more: tuple[tuple[bytes, bytes], ...] = ()
        try:
            try:
                headers_out, body = await self._answer(scope, headers, call)
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
                code, text = REASONS[call.stop]
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
                status, more = connect.status_of(code), _again(error)
            start = [(b"content-type", connect.JSON), *more]
            await send({"type": "http.response.start", "status": status, "headers": start})
            await send({"type": "http.response.body", "body": connect.error_body(code, text)})
        except OSError:
            pass  # nobody waits for it

    async def _answer(
        self, scope: dict[str, Any], headers: Headers, call: Call
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        method = self._methods.get(scope["path"])
        if method is None:
            raise connect.HttpError(404, f"no method {scope['path'][:200]}")
        if scope["method"] != "POST":
            raise connect.HttpError(405, "calls are POSTs", (b"allow", b"POST"))
        if self._calls.stopping:
            raise UnavailableError(REASONS[Stop.STOPPING][1])
        form = connect.Format.of(headers)
        if not isinstance(method, Unary):
            raise connect.HttpError(501, "streams are for gRPC clients")
        timeout = connect.deadline(headers)
        if timeout is not None:
            call.within(timeout)
        body = await self._body(call)
        request = form.request(method.request, body, self._limit)
        call.read = True
        reply = await method.call(request)
        call.answering()
        # There are no trailers whose sending would tell.
        if "body" not in await call.receive():
            if method.lost is not None:
                method.lost(request, reply)
            raise GoneError
        return form.reply(reply)

    async def _body(self, call: Call) -> bytes:
        body = bytearray()
        more = True
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await call.next()
                if "body" not in message:
                    raise GoneError
                body += message["body"]
                if len(body) > self._limit:
                    raise TooLargeError(f"more than {self._limit} bytes")
                more = message["more_body"]
        return bytes(body)


def _again(error: Exception) -> tuple[tuple[bytes, bytes], ...]:
    seconds = retry_after(error)
    return () if seconds is None else ((b"retry-after", b"%d" % ceil(seconds)),)
