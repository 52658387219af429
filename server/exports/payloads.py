"""Messages as readable JSON objects and back, bit for bit.

Fields by their names, enums by theirs, bytes in base64; what has its default value is left out. Python writes the
shortest decimal that reads back as the same double, so no bit is lost. google.protobuf.json_format does the same job
ten times as slowly.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor

M = TypeVar("M", bound=Message)


def to_json(message: Message) -> dict[str, Any]:
    """The message's fields as JSON types.

    >>> from rankd.v1 import log_pb2 as pb
    >>> to_json(pb.Decision(pmf=[0.25, 0.75], mode=pb.MODE_ONLINE, request_hash=b"ab"))
    {'pmf': [0.25, 0.75], 'mode': 'MODE_ONLINE', 'request_hash': 'YWI='}
    """
    writers = _writers(message.DESCRIPTOR)
    return {
        field.name: writers[field.number](value) if field.number in writers else value
        for field, value in message.ListFields()
    }


def from_json(kind: type[M], values: object) -> M:
    """The message whose `to_json` this is.

    >>> from rankd.v1 import log_pb2 as pb
    >>> from_json(pb.Reward, {"value": 0.5, "slot_id": "top"})
    value: 0.5
    slot_id: "top"

    Raises:
        ValueError: it is not; the message says why.
    """
    try:
        return kind(**_arguments(kind.DESCRIPTOR, values))  # type: ignore[arg-type]  # upb's own class of the same
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


def _arguments(descriptor: Descriptor, values: Any) -> dict[str, Any]:
    """What the message's constructor takes. It checks names, types and ranges by itself."""
    readers = _readers(descriptor)
    if not readers:
        return dict(values)
    return {
        name: readers[name](value) if name in readers else value for name, value in values.items()
    }


@cache
def _writers(descriptor: Descriptor) -> dict[int, Callable[[Any], Any]]:
    """By field number; a field that is missing here is JSON as it is."""
    writers: dict[int, Callable[[Any], Any]] = {}
    for field in descriptor.fields:
        write: Callable[[Any], Any] | None = None
        if field.message_type is not None:
            write = to_json
        elif field.enum_type is not None:
            write = _enum_name(field)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            write = _base64
        if field.is_repeated:
            writers[field.number] = list if write is None else _each(write)
        elif write is not None:
            writers[field.number] = write
    return writers


@cache
def _readers(descriptor: Descriptor) -> dict[str, Callable[[Any], Any]]:
    """By field name; the message's constructor takes all other fields as they are."""
    readers: dict[str, Callable[[Any], Any]] = {}
    for field in descriptor.fields:
        read: Callable[[Any], Any] | None = None
        if field.message_type is not None and _readers(field.message_type):
            read = _nested(field.message_type)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            read = _unbase64
        if read is not None:
            readers[field.name] = _each(read) if field.is_repeated else read
    return readers


def _each(convert: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    return lambda values: [convert(value) for value in values]


def _nested(descriptor: Descriptor) -> Callable[[Any], dict[str, Any]]:
    return lambda values: _arguments(descriptor, values)


def _enum_name(field: FieldDescriptor) -> Callable[[int], str | int]:
    assert field.enum_type is not None
    names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
    return lambda number: names.get(number, number)


def _base64(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _unbase64(value: str) -> bytes:
    return b64decode(value, validate=True)
