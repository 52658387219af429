"""Protobuf's wire format (https://protobuf.dev/programming-guides/encoding), as far as messages are read and written piece by piece.

A message is its fields, one after the other: a tag, then a number, or a count of bytes and these. So parts of a message, one after the
other, are the whole, and what is there as bytes need not become a message first, which costs ten times as much.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Below this a number is one byte.
BYTE = 128
# In a tag, the kind of a field that is bytes: a text, a message, numbers one after the other.
_BYTES = 2
# Beginnings of fields that are kept: most are of a few lengths. 200 bytes each.
_BEGINNINGS = 4_096


def varint(number: int) -> bytes:
    """A number >= 0.

    >>> varint(5), varint(300)
    (b'\\x05', b'\\xac\\x02')
    """
    if number < BYTE:
        return number.to_bytes(1, "little")
    found = bytearray()
    while number >= BYTE:
        found.append(number % BYTE + BYTE)
        number //= BYTE
    found.append(number)
    return bytes(found)


def varints(numbers: Sequence[int]) -> bytes:
    """Numbers >= 0, one after the other."""
    if max(numbers, default=0) < BYTE:
        return bytes(numbers)
    return b"".join(map(varint, numbers))


@lru_cache(_BEGINNINGS)
def beginning(number: int, size: int) -> bytes:
    """What stands before so many bytes of a field."""
    return varint(number << 3 | _BYTES) + varint(size)


def field(number: int, value: bytes) -> bytes:
    """A field that is bytes.

    >>> field(1, b"abc")
    b'\\n\\x03abc'
    """
    return beginning(number, len(value)) + value


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, begin, end) of the value of each field of a message that protobuf has parsed."""
    while at < end:
        tag, at = _number_at(data, at)
        kind = tag & 7
        if kind == 0:
            _, stop = _number_at(data, at)
        elif kind == 2:
            size, at = _number_at(data, at)
            stop = at + size
        else:
            stop = at + (8 if kind == 1 else 4)
        yield tag >> 3, at, stop
        at = stop


def _number_at(data: bytes, at: int) -> tuple[int, int]:
    """(the number that begins there, where it ends)."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < BYTE:
            return value, at
