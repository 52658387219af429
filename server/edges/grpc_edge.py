"""The grpcio edge: the methods on a grpc.aio server. The only module of the server that imports grpc.

Requests are parsed by the methods and not by the library, which would answer a malformed message with INTERNAL.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc

from server.edges.calls import ended
from server.edges.health import Health
from server.edges.methods import (
    MAX_REPLY_BYTES,
    PUSHBACK,
    Streaming,
    Unary,
    failure,
    methods_of,
    parsed,
    retry_after,
)
from server.edges.streams import GoneError, first

if TYPE_CHECKING:
    from pathlib import Path

    from server.sections import ServerConfig, TlsConfig
    from server.serving.admin import AdminService
    from server.serving.service import DecisionService

    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]

_HEALTH = f"/{Health.NAME}/Check"
# For a handler to end that was cancelled.
_END_SECONDS = 1.0
_STATUS = {status.value[0]: status for status in grpc.StatusCode}


class Handlers:
    """Handlers that run. When grpc.aio's server has stopped, those that it has cancelled have not heard of it yet."""

    def __init__(self) -> None:
        self.running = 0

    async def ended(self) -> None:
        """Waits for all to end: at once, as they are cancelled, but never for long."""
        await ended(lambda: self.running, _END_SECONDS)


def unary(method: Unary, handlers: Handlers) -> Handler:
    """The method as grpc.aio calls it."""
    kind, call = method.request, method.call

    async def handle(data: bytes, context: Context) -> bytes | None:
        handlers.running += 1
        try:
            return (await call(parsed(kind, data))).SerializeToString()
        except Exception as error:
            _fail(context, error)
            return None
        finally:
            handlers.running -= 1

    return grpc.unary_unary_rpc_method_handler(handle)


def streaming(method: Streaming, handlers: Handlers) -> Handler:
    """The method as grpc.aio calls it."""

    async def handle(_: object, context: Context) -> None:
        async def read() -> bytes | None:
            data = await context.read()
            return None if data is grpc.aio.EOF else data

        async def write(data: bytes) -> None:
            try:
                await context.write(data)
            except grpc.aio.InternalError as error:  # the call is over
                raise GoneError from error

        handlers.running += 1
        try:
            await method.run(read, write)
        # What a TaskGroup raises keeps itself in a cycle (Python 3.11), and with its traceback the call.
        except asyncio.CancelledError as error:
            raise error.with_traceback(None) from None
        except Exception as error:
            why = first(error)
            if not isinstance(why, GoneError):
                _fail(context, why)
            error.__traceback__ = None
        finally:
            handlers.running -= 1

    return grpc.stream_stream_rpc_method_handler(handle)


def _fail(context: Context, error: BaseException) -> None:
    """Has the call end with this error. `context.abort` would raise, and keep the call in a cycle until the collector comes."""
    code, message = failure(error)
    context.set_code(_STATUS[code])
    context.set_details(message)
    seconds = retry_after(error)
    if seconds is not None:
        context.set_trailing_metadata(((PUSHBACK, str(round(1000 * seconds))),))


class GrpcEdge:
    """One gRPC server on one event loop.

    Args:
        port: to listen on, together with other workers.
        decisions: None for a worker that answers operators only.
        own: a Unix socket, for its calls to itself.

    Raises:
        OSError: a file of server.tls cannot be read.
    """

    def __init__(
        self,
        config: ServerConfig,
        port: int,
        decisions: DecisionService | None,
        admin: AdminService,
        own: Path,
    ) -> None:
        self._drain = config.drain.total_seconds()
        self._health = Health()
        self._handlers = Handlers()
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 1),
                ("grpc.max_concurrent_streams", config.max_streams),
                # Else calls that are over count as open for as long as Python has not let go of them (grpc's core, chttp2).
                ("grpc.http.overload_protection", 0),
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", MAX_REPLY_BYTES),
            )
        )
        services: dict[str, dict[str, Handler]] = {}
        for path, method in methods_of(decisions, admin, self._health).items():
            _, service, name = path.split("/")
            handler = (
                unary(method, self._handlers)
                if isinstance(method, Unary)
                else streaming(method, self._handlers)
            )
            services.setdefault(service, {})[name] = handler
        self._server.add_generic_rpc_handlers(
            grpc.method_handlers_generic_handler(name, methods)
            for name, methods in services.items()
        )
        # This worker's alone, while several share the port.
        own.unlink(missing_ok=True)
        self._server.add_insecure_port(f"unix:{own}")
        self._own = grpc.aio.insecure_channel(f"unix:{own}")
        self._ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._own.unary_unary(_HEALTH)
        address = f"{config.host}:{port}"
        if config.tls is None:
            self._server.add_insecure_port(address)
        else:
            self._server.add_secure_port(address, _credentials(config.tls))

    async def start(self) -> None:
        """Opens the port; health says NOT_SERVING until told otherwise."""
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """What the health service says of the whole and of each service."""
        self._health.set(serving)

    async def turn(self) -> None:
        """Asks itself for its health: that waits for its turn as every call does, in grpc's own queues, too."""
        # grpc may refuse it or lose the connection, as after a pause of the whole process: it has had its answer.
        with contextlib.suppress(grpc.RpcError):
            await self._ask(b"")

    async def stop(self) -> None:
        """Closes the port and lets running calls end, for as long as configured. May be called again."""
        await self._own.close()
        self._health.stop()
        await self._server.stop(self._drain)
        await self._handlers.ended()


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=None if tls.client_ca is None else tls.client_ca.read_bytes(),
        require_client_auth=tls.client_ca is not None,
    )
