"""gRPC server reflection, by which tools such as grpcurl learn what can be called; for any edge.

v1 and v1alpha differ in the package's name only, so the messages of one serve both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2 as pb

from server.serving.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import FileDescriptor

    from server.edges.streams import Read, Write

V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
V1 = "grpc.reflection.v1.ServerReflection"

_INVALID_ARGUMENT, _NOT_FOUND = 3, 5  # google.rpc.Code


class Reflection:
    """Answers questions about the services and their messages.

    Args:
        services: full names of the services to tell of.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._services = sorted(services)

    async def answer(self, read: Read, write: Write) -> None:
        """Answers every question of a stream."""
        while (data := await read()) is not None:
            try:
                request = pb.ServerReflectionRequest.FromString(data)
            except DecodeError as error:
                raise InvalidArgumentError(
                    "request", "is not a valid ServerReflectionRequest"
                ) from error
            reply = self._answer(request)
            reply.valid_host = request.host
            reply.original_request.CopyFrom(request)
            await write(reply.SerializeToString())

    def _answer(self, request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
        pool = descriptor_pool.Default()
        reply = pb.ServerReflectionResponse()
        asked = request.WhichOneof("message_request")
        try:
            if asked == "list_services":
                for name in self._services:
                    reply.list_services_response.service.add(name=name)
            elif asked == "file_by_filename":
                _add_files(reply, pool.FindFileByName(request.file_by_filename))
            elif asked == "file_containing_symbol":
                _add_files(reply, pool.FindFileContainingSymbol(request.file_containing_symbol))
            elif asked == "file_containing_extension":
                extension = request.file_containing_extension
                message = pool.FindMessageTypeByName(extension.containing_type)
                found = pool.FindExtensionByNumber(message, extension.extension_number)
                _add_files(reply, pool.FindFileContainingSymbol(found.full_name))
            elif asked == "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                extensions = pool.FindAllExtensions(pool.FindMessageTypeByName(name))
                numbers = reply.all_extension_numbers_response
                numbers.base_type_name = name
                numbers.extension_number.extend(sorted(each.number for each in extensions))
            else:
                reply.error_response.error_code = _INVALID_ARGUMENT
                reply.error_response.error_message = "nothing was asked"
        except KeyError:
            reply.error_response.error_code = _NOT_FOUND
            reply.error_response.error_message = "not found"
        return reply


def _add_files(reply: pb.ServerReflectionResponse, file: FileDescriptor) -> None:
    """The file and all that it imports, each once."""
    found = {file.name: file}
    waiting = [file]
    while waiting:
        for each in waiting.pop().dependencies:
            if each.name not in found:
                found[each.name] = each
                waiting.append(each)
    reply.file_descriptor_response.file_descriptor_proto.extend(
        each.serialized_pb for each in found.values()
    )
