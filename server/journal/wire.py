"""Frames on the writer's socket: 4 bytes of length, then one message."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from server.fold.wire_format import beginning, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rankd.v1 import internal_pb2
    from rankd.v1 import log_pb2 as pb

_LENGTH = struct.Struct("!I")
# Far above the largest request (1,000 decisions of 4 MB would be refused long before; calls share no more than 4 MB): a greater length is noise.
MAX_FRAME = 256 * 2**20
# Fields: of rankd.v1.JournalRequest, of rankd.v1.Record.
_RECORDS = 2
_HEADER, _PAYLOAD = 1, 2


class FrameError(Exception):
    """The other side does not speak this protocol."""


def frame(message: bytes) -> bytes:
    """The message with its length in front."""
    return _LENGTH.pack(len(message)) + message


def append_frame(
    request: internal_pb2.JournalRequest, records: Iterable[tuple[pb.Header, bytes]]
) -> bytes:
    """The request in a frame, with records of these headers and payloads.

    Args:
        request: all but the records.

    Raises:
        FrameError: it is larger than the writer takes.
    """
    pieces = [request.SerializeToString()]
    for header, payload in records:
        head = field(_HEADER, header.SerializeToString())
        head += beginning(_PAYLOAD, len(payload))
        pieces += (beginning(_RECORDS, len(head) + len(payload)), head, payload)
    size = sum(map(len, pieces))
    if size > MAX_FRAME:
        raise FrameError(f"{size} bytes; at most {MAX_FRAME} at a time")
    pieces.insert(0, _LENGTH.pack(size))
    return b"".join(pieces)


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
