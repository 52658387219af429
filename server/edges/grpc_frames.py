"""gRPC on HTTP/2, as bytes: message frames, compression, deadlines and the text of errors.

After the protocol's description, https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Pure.
"""

from __future__ import annotations

import zlib

# A frame's head: one byte that says whether the message is compressed, and its length (4 bytes, big-endian).
HEAD = 5
# Seconds for each unit of grpc-timeout.
_UNITS = {72: 3600.0, 77: 60.0, 83: 1.0, 109: 1e-3, 117: 1e-6, 110: 1e-9}  # H M S m u n
# zlib's name for a gzip header, and for either of gzip and zlib.
_GZIP, _ANY = 31, 47

ACCEPTED = b"identity,gzip,deflate"
"""What grpc-accept-encoding says."""


class FrameError(Exception):
    """Not what the protocol says: a frame that is none, a head that lies, a timeout without a unit."""


class TooLargeError(Exception):
    """A message beyond the limit."""


def frame(message: bytes) -> bytes:
    """The message in a frame, as it is.

    >>> frame(b"abc")
    b'\\x00\\x00\\x00\\x00\\x03abc'
    """
    return b"\0" + len(message).to_bytes(4, "big") + message


def gzip_frame(message: bytes) -> bytes:
    """The message in a frame, compressed."""
    packer = zlib.compressobj(1, wbits=_GZIP)
    packed = packer.compress(message) + packer.flush()
    return b"\1" + len(packed).to_bytes(4, "big") + packed


def unpacked(data: bytes, limit: int) -> bytes:
    """What was compressed by gzip or deflate.

    Raises:
        TooLargeError: it holds more than `limit` bytes; no more than those are ever made.
        FrameError: it is neither.
    """
    unpacker = zlib.decompressobj(wbits=_ANY)
    try:
        message = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise FrameError(f"a message cannot be decompressed: {error}") from error
    if len(message) > limit:
        raise TooLargeError(f"a message of more than {limit} bytes, once decompressed")
    if not unpacker.eof:
        raise FrameError("a compressed message is cut short")
    return message


class Frames:
    """Takes a body in pieces, gives its messages.

    Args:
        limit: bytes of the longest message.
        encoded: whether the call's grpc-encoding is one that frames may use.
    """

    def __init__(self, limit: int, encoded: bool) -> None:
        self._limit = limit
        self._encoded = encoded
        self._rest = bytearray()

    @property
    def empty(self) -> bool:
        """Whether no part of a message waits for its end."""
        return not self._rest

    def feed(self, data: bytes) -> None:
        self._rest += data

    def next(self) -> bytes | None:
        """The next whole message, if there is one.

        Raises:
            TooLargeError: it is too long; known by its head, before it is there.
            FrameError: the bytes are no frame.
        """
        rest = self._rest
        if len(rest) < HEAD:
            return None
        size = int.from_bytes(rest[1:HEAD], "big")
        if size > self._limit:
            raise TooLargeError(f"a message of {size} bytes; at most {self._limit} are accepted")
        if rest[0] > 1 or (rest[0] and not self._encoded):
            raise FrameError("a message says that it is compressed, and the call does not say how")
        if len(rest) < HEAD + size:
            return None
        message = bytes(rest[HEAD : HEAD + size])
        packed = rest[0]
        del rest[: HEAD + size]
        return unpacked(message, self._limit) if packed else message


def seconds(timeout: bytes) -> float:
    """What grpc-timeout says, in seconds.

    Raises:
        FrameError: it is no timeout.

    >>> seconds(b"1500m"), seconds(b"2S")
    (1.5, 2.0)
    """
    digits, unit = timeout[:-1], _UNITS.get(timeout[-1]) if timeout else None
    if unit is None or not digits.isdigit() or len(digits) > 8:
        raise FrameError(f"grpc-timeout {timeout[:20]!r} is not a number and a unit")
    return int(digits) * unit


def percent_encoded(text: str) -> bytes:
    """An error's text as grpc-message has it: UTF-8, whatever is not printable ASCII or is % as %XX.

    >>> percent_encoded("50% \\u00e4")
    b'50%25 %C3%A4'
    """
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text.encode("utf-8", "replace")
    )
