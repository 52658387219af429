"""What every edge serves: each method's request and call, what errors become, and the order of a stream. No transport.

An edge turns its transport's bytes into these calls, and their ends into its transport's own words.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog
from google.protobuf.message import DecodeError, Message

from rankd.v1 import admin_pb2
from rankd.v1 import decisions_pb2 as api
from server.edges.health import Health
from server.edges.reflection import V1, V1ALPHA, Reflection
from server.edges.streams import GoneError, Read, Write
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

    from server.serving.admin import AdminService
    from server.serving.service import DecisionService

log = structlog.get_logger("edge")
M = TypeVar("M", bound=Message)

DECISIONS = api.DESCRIPTOR.services_by_name["Decisions"].full_name
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name

# Bytes of the largest reply: rank_many() of 1,000 requests with 1,000 actions each is 58 MB.
MAX_REPLY_BYTES = 64 << 20
# Characters of an error's message, which travels in a header: at 12 bytes each (percent-encoded UTF-8) they stay below
# the 8 kB of headers that clients accept.
_TEXT = 500
# Requests of one stream that are worked on at a time: a full commit's worth, and a bound on what one client can hold.
_STREAM_WINDOW = 64


class Code(IntEnum):
    """How a call ends: google.rpc.Code, as far as an edge says it itself."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


_CODES: dict[type[ServiceError], Code] = {
    InvalidArgumentError: Code.INVALID_ARGUMENT,
    NotFoundError: Code.NOT_FOUND,
    AlreadyExistsError: Code.ALREADY_EXISTS,
    FailedPreconditionError: Code.FAILED_PRECONDITION,
    ResourceExhaustedError: Code.RESOURCE_EXHAUSTED,
    UnavailableError: Code.UNAVAILABLE,
}

PUSHBACK = "grpc-retry-pushback-ms"
"""How gRPC clients are told when to come again: gRFC A6, milliseconds."""


class Edge(Protocol):
    """One way in: a port, and what is spoken there."""

    async def start(self) -> None:
        """Opens the port; health says NOT_SERVING until told otherwise."""

    async def set_serving(self, serving: bool) -> None:
        """What the health service says of the whole and of each service."""

    async def turn(self) -> None:
        """Waits for its turn, as a call that comes now has to. Raises nothing; callers bound it."""

    async def stop(self) -> None:
        """Lets running calls end, for as long as configured, and refuses new ones. May be called again."""


@dataclass(frozen=True, slots=True)
class Unary:
    """One request, one reply.

    Attributes:
        call: raises ServiceError.
        lost: takes note that this request's reply could not be handed over.
    """

    request: type[Message]
    call: Callable[[Any], Awaitable[Message]]
    lost: Callable[[Any, Any], None] | None = None


@dataclass(frozen=True, slots=True)
class Streaming:
    """Any number of messages each way.

    Attributes:
        run: raises ServiceError, and GoneError where read or write did.
        one: a single message is read.
    """

    run: Callable[[Read, Write], Awaitable[None]]
    one: bool = False


Methods = dict[str, Unary | Streaming]
"""Methods by path: "/rankd.v1.Decisions/Rank"."""


def methods_of(
    decisions: DecisionService | None, admin: AdminService, health: Health
) -> dict[str, Unary | Streaming]:
    """All that a worker serves.

    Args:
        decisions: None for a worker that answers operators only.
    """
    services: dict[str, Methods] = {ADMIN: _admin(admin)}
    if decisions is not None:
        services[DECISIONS] = _decisions(decisions)
    health.names = ("", *services)
    services[Health.NAME] = {
        "Check": Unary(Health.REQUEST, health.check),
        "Watch": Streaming(health.watch, one=True),
        "List": Streaming(health.list, one=True),
    }
    reflection = Streaming(Reflection((*services, V1ALPHA)).answer)
    for name in (V1ALPHA, V1):
        services[name] = {"ServerReflectionInfo": reflection}
    return {
        f"/{service}/{name}": method
        for service, methods in services.items()
        for name, method in methods.items()
    }


def parsed(kind: type[M], data: bytes) -> M:
    """The message.

    Raises:
        InvalidArgumentError: the bytes are none.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidArgumentError("request", f"is not a valid {kind.DESCRIPTOR.name}") from error


def failure(error: BaseException) -> tuple[Code, str]:
    """Code and message that a caller is told. What nobody foresaw is logged, and told by a number that leads to the log."""
    if isinstance(error, ServiceError):
        return _CODES[type(error)], str(error)[:_TEXT]
    number = secrets.token_hex(4)
    log.error("internal error", id=number, exc_info=error)
    return Code.INTERNAL, f"internal error {number}; the server's log has the details"


def retry_after(error: BaseException) -> float | None:
    """Seconds after which the same call may come again; None where that is not known."""
    return error.retry_after if isinstance(error, ResourceExhaustedError) else None


def _item(reply: api.RankReply | Exception) -> api.RankReply:
    if isinstance(reply, Exception):
        code, message = failure(reply)
        return api.RankReply(error=api.Error(code=code, message=message))
    return reply


def _decisions(service: DecisionService) -> Methods:
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

    async def rank_stream(read: Read, write: Write) -> None:
        await _rank_stream(service, read, write)

    def rank_lost(request: api.RankRequest, reply: api.RankReply) -> None:
        service.lost(request.app, reply.event_id)

    def batch_lost(request: api.RankBatchRequest, reply: api.RankBatchReply) -> None:
        for asked, answer in zip(request.requests, reply.replies, strict=True):
            if answer.event_id:
                service.lost(asked.app, answer.event_id)

    return {
        "Rank": Unary(api.RankRequest, service.rank, rank_lost),
        "RankBatch": Unary(api.RankBatchRequest, rank_batch, batch_lost),
        "RankStream": Streaming(rank_stream),
        "Reward": Unary(api.RewardRequest, reward),
        "RewardBatch": Unary(api.RewardBatchRequest, reward_batch),
        "Activate": Unary(api.ActivateRequest, activate),
    }


async def _rank_stream(service: DecisionService, read: Read, write: Write) -> None:
    """Works on up to a window of requests at a time; answers in their order."""
    window = asyncio.Semaphore(_STREAM_WINDOW)
    before: asyncio.Task[None] | None = None
    async with asyncio.TaskGroup() as tasks:
        while (data := await read()) is not None:
            await window.acquire()
            before = tasks.create_task(_stream_item(service, data, write, before))
            before.add_done_callback(lambda _: window.release())


async def _stream_item(
    service: DecisionService, data: bytes, write: Write, before: asyncio.Task[None] | None
) -> None:
    """Decides one request, and answers once the one before it is answered."""
    app = ""
    try:
        request = parsed(api.RankRequest, data)
        app = request.app
        reply = await service.rank(request)
    except Exception as error:
        reply = _item(error)
    try:
        if before is not None:
            await before
        await write(reply.SerializeToString())
    except (asyncio.CancelledError, GoneError):
        if reply.event_id:
            service.lost(app, reply.event_id)
        raise


def _admin(admin: AdminService) -> Methods:
    pb = admin_pb2

    async def export(request: admin_pb2.ExportModelRequest) -> admin_pb2.ExportModelReply:
        return pb.ExportModelReply(model=await admin.export(request.app, request.model_version))

    return {
        "Apps": Unary(pb.AppsRequest, lambda _: admin.apps()),
        "Status": Unary(pb.StatusRequest, lambda r: admin.status(r.app)),
        "ListModels": Unary(pb.ListModelsRequest, lambda r: admin.models(r.app)),
        "RollBack": Unary(pb.RollBackRequest, lambda r: admin.roll_back(r.app, r.model_version)),
        "Promote": Unary(pb.PromoteRequest, lambda r: admin.promote(r.app, r.model)),
        "Pin": Unary(pb.PinRequest, lambda r: admin.pin(r.app, r.model_version)),
        "Unpin": Unary(pb.UnpinRequest, lambda r: admin.unpin(r.app)),
        "ExportModel": Unary(pb.ExportModelRequest, export),
    }
