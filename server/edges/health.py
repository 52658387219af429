"""gRPC's health service (grpc.health.v1), for any edge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from server.serving.errors import InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    from server.edges.streams import Read, Write

_Status = health_pb2.HealthCheckResponse


class Health:
    """Says whether this worker serves. All services say the same: they need the same models and the same journal.

    Attributes:
        names: services that are known; "" is the whole.
    """

    NAME = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    REQUEST = health_pb2.HealthCheckRequest

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ("",)
        self._serving = False
        self._stopped = False
        self._changed = asyncio.Event()

    def set(self, serving: bool) -> None:
        """What is said from now on; after `stop` it stays NOT_SERVING."""
        if not self._stopped and serving != self._serving:
            self._serving = serving
            self._tell()

    def stop(self) -> None:
        """NOT_SERVING for good; who watches is told, and let go. May be called again."""
        self._serving, self._stopped = False, True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def check(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        """The status of a service now.

        Raises:
            NotFoundError: there is no such service.
        """
        if request.service not in self.names:
            raise NotFoundError("service", f"no service {request.service[:64]!r} here")
        return self._reply(request.service)

    async def watch(self, read: Read, write: Write) -> None:
        """Tells the status now and whenever it changes, until this worker stops; of an unknown service, that it is unknown."""
        try:
            request = health_pb2.HealthCheckRequest.FromString(await read() or b"")
        except DecodeError as error:
            raise InvalidArgumentError("request", "is not a valid HealthCheckRequest") from error
        told = None
        while True:
            changed, reply = self._changed, self._reply(request.service)
            if reply.status != told:
                told = reply.status
                await write(reply.SerializeToString())
            if self._stopped:
                return
            await changed.wait()

    async def list(self, _: Read, write: Write) -> None:
        """The status of every service: HealthListResponse, which grpcio-health-checking 1.78 does not have yet.

        Its only field, 1, is a map: entries with the name in field 1 and a HealthCheckResponse in field 2.
        """
        reply = b""
        for name in self.names:
            entry = _bytes_field(1, name.encode())
            entry += _bytes_field(2, self._reply(name).SerializeToString())
            reply += _bytes_field(1, entry)
        await write(reply)

    def _reply(self, name: str) -> health_pb2.HealthCheckResponse:
        if name not in self.names:
            return _Status(status=_Status.SERVICE_UNKNOWN)
        return _Status(status=_Status.SERVING if self._serving else _Status.NOT_SERVING)


def _bytes_field(number: int, value: bytes) -> bytes:
    """A length-delimited field on the wire; names of services and all that has them are shorter than 128 bytes."""
    return bytes((number << 3 | 2, len(value))) + value
