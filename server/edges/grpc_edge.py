"""The grpcio edge: the methods on a grpc.aio server. The only module of the server that imports grpc.

Requests are parsed by the methods and not by the library, which would answer a malformed message with INTERNAL.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import grpc

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

if TYPE_CHECKING:
    from pathlib import Path

    from server.sections import ServerConfig, TlsConfig
    from server.serving.admin import AdminService
    from server.serving.service import DecisionService

    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]

_HEALTH = f"/{Health.NAME}/Check"
_STATUS = {status.value[0]: status for status in grpc.StatusCode}


def _unary(method: Unary) -> Handler:
    kind, call = method.request, method.call

    async def handle(data: bytes, context: Context) -> bytes:
        try:
            return (await call(parsed(kind, data))).SerializeToString()
        except Exception as error:
            code, message = failure(error)
            trailers = _trailers(error)
        await context.abort(_STATUS[code], message, trailers)
        raise AssertionError("abort raises")

    return grpc.unary_unary_rpc_method_handler(handle)


def _streaming(method: Streaming) -> Handler:
    async def handle(_: object, context: Context) -> None:
        async def read() -> bytes | None:
            data = await context.read()
            return None if data is grpc.aio.EOF else data

        try:
            await method.run(read, context.write)
            return
        except Exception as error:
            code, message = failure(error)
        await context.abort(_STATUS[code], message)

    return grpc.stream_stream_rpc_method_handler(handle)


def _trailers(error: Exception) -> tuple[tuple[str, str], ...]:
    seconds = retry_after(error)
    return () if seconds is None else ((PUSHBACK, str(round(1000 * seconds))),)


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
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", MAX_REPLY_BYTES),
            )
        )
        services: dict[str, dict[str, Handler]] = {}
        for path, method in methods_of(decisions, admin, self._health).items():
            _, service, name = path.split("/")
            handler = _unary(method) if isinstance(method, Unary) else _streaming(method)
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


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=None if tls.client_ca is None else tls.client_ca.read_bytes(),
        require_client_auth=tls.client_ca is not None,
    )
