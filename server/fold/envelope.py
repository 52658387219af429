"""The envelope of checkpoints and models: tells at once whether the bytes are whole, ours, and of a format we read.

Layout: 8 bytes magic, 2 bytes format version (big-endian), 32 bytes SHA-256 of the rest, the message.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import IO, TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message

if TYPE_CHECKING:
    from collections.abc import Iterable

M = TypeVar("M", bound=Message)

MAGIC = b"rankd\r\n\x00"  # CR LF NUL: a transfer in text mode is noticed too
_FORMAT = 1
_HEAD = len(MAGIC) + 2 + 32


class EnvelopeError(Exception):
    """The bytes are cut short, altered, not rankd's, or of a newer format. Nothing of them was used."""


def seal(message: Message) -> bytes:
    """The message in its envelope; equal messages give equal bytes."""
    file = BytesIO()
    seal_into(file, [message])
    return file.getvalue()


def seal_into(file: IO[bytes], pieces: Iterable[Message]) -> None:
    """Writes the envelope of the message that the pieces merge to into an empty file, which can be sought in.

    For a message so large that a copy of it in memory would matter: no more than one piece is there at a time.
    """
    digest = hashlib.sha256()
    file.write(MAGIC + _FORMAT.to_bytes(2, "big") + bytes(digest.digest_size))
    for piece in pieces:
        part = piece.SerializeToString(deterministic=True)
        digest.update(part)
        file.write(part)
    file.seek(_HEAD - digest.digest_size)
    file.write(digest.digest())


def unseal(kind: type[M], data: bytes) -> M:
    """The message in the envelope.

    Raises:
        EnvelopeError: anything is wrong with it; the message says what.
    """
    if not data.startswith(MAGIC) or len(data) < _HEAD:
        raise EnvelopeError("not a rankd file, or cut short")
    found = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 2], "big")
    if found != _FORMAT:
        raise EnvelopeError(f"format {found}; this rankd reads format {_FORMAT}")
    body = memoryview(data)[_HEAD:]  # no copy
    if hashlib.sha256(body).digest() != data[_HEAD - 32 : _HEAD]:
        raise EnvelopeError("its content does not match its checksum")
    try:
        message = kind()
        message.ParseFromString(body)  # type: ignore[arg-type]  # takes any buffer
        return message
    except DecodeError as error:
        raise EnvelopeError(f"not a {kind.__name__}") from error
