"""The gRPC edge: bytes to messages, errors to status codes. The only module of the server that imports grpc.

Requests are parsed here and not by the library, which would answer a malformed message with INTERNAL.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from rankd.v1 import admin_pb2
from rankd.v1 import decisions_pb2 as api
from server.serving.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.sections import ServerConfig
    from server.serving.admin import AdminService
    from server.serving.service import DecisionService

log = structlog.get_logger("grpc")
M = TypeVar("M", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]

DECISIONS = api.DESCRIPTOR.services_by_name["Decisions"].full_name
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name

_CODES: dict[type[ServiceError], grpc.StatusCode] = {
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
}
# Characters of an error's message, which travels in a header: at 12 bytes each (percent-encoded UTF-8) they stay below
# the 8 kB of headers that clients accept.
_TEXT = 500
# Requests of one stream that are worked on at a time: a full commit's worth, and a bound on what one client can hold.
_STREAM_WINDOW = 64


def _parse(kind: type[M], data: bytes) -> M:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidArgumentError("request", f"is not a valid {kind.DESCRIPTOR.name}") from error


def _unknown(error: Exception) -> str:
    """An internal error's public text: an id that leads to the log, and nothing of what went wrong."""
    number = secrets.token_hex(4)
    log.error("internal error", id=number, exc_info=error)
    return f"internal error {number}; the server's log has the details"


def _unary(
    kind: type[M], call: Callable[[M], Awaitable[Message]]
) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(data: bytes, context: Context) -> bytes:
        try:
            return (await call(_parse(kind, data))).SerializeToString()
        except ServiceError as error:
            code, message = _CODES[type(error)], str(error)[:_TEXT]
        except Exception as error:
            code, message = grpc.StatusCode.INTERNAL, _unknown(error)
        await context.abort(code, message)
        raise AssertionError("abort raises")

    return grpc.unary_unary_rpc_method_handler(handle)


class GrpcEdge:
    """One gRPC server on one event loop."""

    def __init__(
        self,
        config: ServerConfig,
        port: int,
        decisions: DecisionService,
        admin: AdminService,
    ) -> None:
        self._decisions = decisions
        self._drain = config.drain.total_seconds()
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", 64 << 20),
            )
        )
        handlers = {ADMIN: _admin_methods(admin)}
        if config.role != "learner":  # its worker answers operators only
            handlers[DECISIONS] = self._decision_methods()
        self._server.add_generic_rpc_handlers(
            grpc.method_handlers_generic_handler(name, methods)
            for name, methods in handlers.items()
        )
        self._services = ("", *handlers)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (*handlers, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._server.add_insecure_port(f"{config.host}:{port}")

    async def start(self) -> None:
        """Opens the port; health says NOT_SERVING until told otherwise."""
        await self.set_serving(False)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """What the health service says of the whole and of each service."""
        status = health_pb2.HealthCheckResponse
        value = status.SERVING if serving else status.NOT_SERVING
        for name in self._services:
            await self._health.set(name, value)

    async def stop(self) -> None:
        """Closes the port and lets running calls end, for as long as configured. May be called again."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._drain)

    def _decision_methods(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        service = self._decisions

        async def rank_batch(request: api.RankBatchRequest) -> api.RankBatchReply:
            replies = await service.rank_batch(request.requests)
            return api.RankBatchReply(replies=[_item(reply) for reply in replies])

        async def reward(request: api.RewardRequest) -> api.RewardReply:
            (sequence,) = await service.reward([request])
            return api.RewardReply(sequence=sequence)

        async def reward_batch(request: api.RewardBatchRequest) -> api.RewardBatchReply:
            return api.RewardBatchReply(sequences=await service.reward(request.rewards))

        async def activate(request: api.ActivateRequest) -> api.ActivateReply:
            return api.ActivateReply(sequence=await service.activate(request))

        return {
            "Rank": _unary(api.RankRequest, service.rank),
            "RankBatch": _unary(api.RankBatchRequest, rank_batch),
            "RankStream": grpc.stream_stream_rpc_method_handler(self._rank_stream),
            "Reward": _unary(api.RewardRequest, reward),
            "RewardBatch": _unary(api.RewardBatchRequest, reward_batch),
            "Activate": _unary(api.ActivateRequest, activate),
        }

    async def _rank_stream(self, _: object, context: Context) -> None:
        """Works on up to a window of requests at a time; answers in their order."""
        window = asyncio.Semaphore(_STREAM_WINDOW)
        before: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as tasks:
            while (data := await context.read()) is not grpc.aio.EOF:
                await window.acquire()
                before = tasks.create_task(self._stream_item(data, context, before))
                before.add_done_callback(lambda _: window.release())

    async def _stream_item(
        self, data: bytes, context: Context, before: asyncio.Task[None] | None
    ) -> None:
        """Decides one request, and answers once the one before it is answered."""
        app = ""
        try:
            request = _parse(api.RankRequest, data)
            app = request.app
            reply = await self._decisions.rank(request)
        except ServiceError as error:
            reply = _item(error)
        except Exception as error:
            code = grpc.StatusCode.INTERNAL.value[0]
            reply = api.RankReply(error=api.Error(code=code, message=_unknown(error)))
        try:
            if before is not None:
                await before
            await context.write(reply.SerializeToString())
        except asyncio.CancelledError:
            if reply.event_id:
                self._decisions.lost(app, reply.event_id)
            raise


def _item(reply: api.RankReply | ServiceError) -> api.RankReply:
    if isinstance(reply, ServiceError):
        code = _CODES[type(reply)].value[0]
        return api.RankReply(error=api.Error(code=code, message=str(reply)[:_TEXT]))
    return reply


def _admin_methods(admin: AdminService) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    pb = admin_pb2

    async def export(request: admin_pb2.ExportModelRequest) -> admin_pb2.ExportModelReply:
        return pb.ExportModelReply(model=await admin.export(request.app, request.model_version))

    return {
        "Apps": _unary(pb.AppsRequest, lambda _: admin.apps()),
        "Status": _unary(pb.StatusRequest, lambda r: admin.status(r.app)),
        "ListModels": _unary(pb.ListModelsRequest, lambda r: admin.models(r.app)),
        "RollBack": _unary(pb.RollBackRequest, lambda r: admin.roll_back(r.app, r.model_version)),
        "Promote": _unary(pb.PromoteRequest, lambda r: admin.promote(r.app, r.model)),
        "Pin": _unary(pb.PinRequest, lambda r: admin.pin(r.app, r.model_version)),
        "Unpin": _unary(pb.UnpinRequest, lambda r: admin.unpin(r.app)),
        "ExportModel": _unary(pb.ExportModelRequest, export),
    }
