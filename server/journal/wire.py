"""Frames on the writer's socket: 4 bytes of length, then one message."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH = struct.Struct("!I")
# Far above the largest request (1,000 decisions of 4 MB would be refused long before): a greater length is noise.
MAX_FRAME = 256 * 2**20


class FrameError(Exception):
    """The other side does not speak this protocol."""


def frame(message: bytes) -> bytes:
    """The message with its length in front."""
    return _LENGTH.pack(len(message)) + message


class Unframer:
    """Cuts a stream of bytes into messages.

    >>> unframer = Unframer()
    >>> data = frame(b"one") + frame(b"two")
    >>> [list(unframer.feed(data[:5])), list(unframer.feed(data[5:]))]
    [[], [b'one', b'two']]
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Takes in bytes; gives every message that is complete by now."""
        # Mostly nothing is left over, and messages are cut out of what has come without another copy.
        source: bytes | memoryview | bytearray = data
        if self._buffer:
            self._buffer += data
            source = self._buffer
        at = 0
        while len(source) - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(source, at)
            if size > MAX_FRAME:
                raise FrameError(f"a frame of {size} bytes")
            end = at + _LENGTH.size + size
            if len(source) < end:
                break
            yield bytes(source[at + _LENGTH.size : end])
            at = end
        if source is data:
            self._buffer += data[at:]
        else:
            del self._buffer[:at]
