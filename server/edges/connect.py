"""Unary calls over plain HTTP: Connect's protocol with protobuf or JSON, of which a POST of JSON by hand is a part.

After https://connectrpc.com/docs/protocol. JSON is protobuf's own mapping: fields in lowerCamelCase or as in the contract,
64-bit integers as text. A field that the contract does not have is refused. Pure.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf import json_format

from server.edges.grpc_frames import FrameError, unpacked
from server.edges.methods import Code, parsed
from server.serving.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

PROTO, JSON = b"application/proto", b"application/json"

# Code -> its name in an error's JSON, and the HTTP status.
_CODES = {
    Code.CANCELLED: ("canceled", 499),
    Code.INVALID_ARGUMENT: ("invalid_argument", 400),
    Code.DEADLINE_EXCEEDED: ("deadline_exceeded", 504),
    Code.NOT_FOUND: ("not_found", 404),
    Code.ALREADY_EXISTS: ("already_exists", 409),
    Code.RESOURCE_EXHAUSTED: ("resource_exhausted", 429),
    Code.FAILED_PRECONDITION: ("failed_precondition", 400),
    Code.UNIMPLEMENTED: ("unimplemented", 501),
    Code.INTERNAL: ("internal", 500),
    Code.UNAVAILABLE: ("unavailable", 503),
}
# Replies shorter than this (bytes) are not compressed: they would hardly shrink.
_WORTH = 512


class HttpError(Exception):
    """What is refused in HTTP's own words, since no call was understood."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Format:
    """How one call's messages are written."""

    json: bool
    unpack: bool  # the request is compressed
    pack: bool  # the client takes gzip

    @classmethod
    def of(cls, headers: Mapping[bytes, bytes]) -> Format:
        """What the request's headers ask for.

        Raises:
            HttpError: it is not spoken here.
        """
        kind, _, parameters = headers.get(b"content-type", b"").lower().partition(b";")
        kind = kind.strip()
        charset = parameters.strip().removeprefix(b"charset=").strip(b'"')
        if kind not in (PROTO, JSON) or charset not in (b"", b"utf-8"):
            raise HttpError(
                415,
                "content-type must be application/json or application/proto (or a gRPC client's)",
                (b"accept-post", b"application/json, application/proto, application/grpc"),
            )
        if headers.get(b"connect-protocol-version", b"1") != b"1":
            raise HttpError(400, "connect-protocol-version must be 1")
        encoding = headers.get(b"content-encoding", b"identity").lower()
        if encoding not in (b"identity", b"gzip"):
            raise HttpError(501, "content-encoding must be gzip or identity", ACCEPT)
        takes = [part.strip() for part in headers.get(b"accept-encoding", b"").lower().split(b",")]
        return cls(kind == JSON, encoding == b"gzip", b"gzip" in takes)

    def request(self, kind: type[Message], body: bytes, limit: int) -> Message:
        """The request.

        Raises:
            InvalidArgumentError: it is not valid; says where.
            TooLargeError: it holds more than `limit` bytes, once decompressed.
        """
        if self.unpack:
            try:
                body = unpacked(body, limit)
            except FrameError as error:
                raise InvalidArgumentError("request", str(error)) from error
        if not self.json:
            return parsed(kind, body)
        if body.lstrip()[:1] != b"{":
            raise InvalidArgumentError("request", "must be a JSON object")
        try:
            return json_format.Parse(body, kind())
        except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
            reason = f"is not a valid {kind.DESCRIPTOR.name}: {error}"
            raise InvalidArgumentError("request", reason) from error

    def reply(self, message: Message) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """The reply's headers and body."""
        if self.json:
            body = json_format.MessageToJson(message, indent=None).encode()
        else:
            body = message.SerializeToString()
        headers = [(b"content-type", JSON if self.json else PROTO)]
        if self.pack and len(body) > _WORTH:
            packer = zlib.compressobj(1, wbits=31)
            body = packer.compress(body) + packer.flush()
            headers.append((b"content-encoding", b"gzip"))
        return headers, body


ACCEPT = (b"accept-encoding", b"gzip, identity")


def deadline(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds that the caller waits, if it says so.

    Raises:
        HttpError: it says no number.
    """
    value = headers.get(b"connect-timeout-ms")
    if value is None:
        return None
    if not value.isdigit() or len(value) > 10:
        raise HttpError(
            400, "connect-timeout-ms must be a number of milliseconds, of 10 digits at most"
        )
    return int(value) / 1000


def status_of(code: Code) -> int:
    """The HTTP status of a call that ended so."""
    return _CODES[code][1]


def error_body(code: Code, message: str) -> bytes:
    """An error as Connect writes it."""
    return json.dumps({"code": _CODES[code][0], "message": message}).encode()


def code_of(status: int) -> Code:
    """The code that goes with an HTTP refusal."""
    if status in (400, 415):
        return Code.INVALID_ARGUMENT
    return Code.RESOURCE_EXHAUSTED if status == 413 else Code.UNIMPLEMENTED
