"""Canonical bytes for a header and named arrays: equal content, equal bytes; other content is refused.

Layout: 8 bytes of length, JSON header with sorted keys, the arrays back to back, little-endian, in sorted order of
their names, then a digest of all of it. numpy's own .npz is not canonical (it holds time stamps) and pickles are code.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.policy import PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_DTYPES = {"<f8": np.float64, "<i8": np.int64, "<u8": np.uint64, "|u1": np.uint8, "<f4": np.float32}
# Bytes of BLAKE2b at the end. Against accidents (a cut file, a flipped bit), which a library's own loader may swallow
# silently; whoever wants to forge a state can compute it too.
_DIGEST = 16


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Header (JSON types, finite numbers) and arrays (float64, float32, int64, uint64, uint8) as bytes.

    >>> unpack(pack({"n": 2}, {"a": np.array([1.0, 2.0])}))
    ({'n': 2}, {'a': array([1., 2.])})
    """
    layout = {}
    parts: list[bytes | memoryview] = []
    for name in sorted(arrays):
        array = arrays[name]
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype.str not in _DTYPES:
            raise TypeError(f"array {name!r} has the unsupported type {array.dtype}")
        layout[name] = [array.dtype.str, list(array.shape)]
        parts.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # no copy
    head = json.dumps(
        {"header": header, "arrays": layout}, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()
    body: list[bytes | memoryview] = [len(head).to_bytes(8, "little"), head, *parts]
    digest = blake2b(digest_size=_DIGEST)
    for part in body:
        digest.update(part)
    return b"".join([*body, digest.digest()])


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays (writable copies) that `pack` was given.

    Raises:
        PolicyError: the bytes were not made by `pack`, were changed, or are cut short.
    """
    body, digest = memoryview(data)[:-_DIGEST], data[-_DIGEST:]
    if blake2b(body, digest_size=_DIGEST).digest() != digest:
        raise PolicyError(f"not a packed state, or a damaged one: {len(data)} bytes, wrong digest")
    try:
        size = int.from_bytes(body[:8], "little")
        head = json.loads(bytes(body[8 : 8 + size]))
        header, layout = dict(head["header"]), dict(head["arrays"])
        at = 8 + size
        arrays = {}
        for name, (kind, shape) in sorted(layout.items()):
            dtype = np.dtype(_DTYPES[kind]).newbyteorder("<")
            end = at + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(body[at:end], dtype).reshape(shape).copy()
            at = end
        if at != len(body):
            raise ValueError(f"{len(body) - at} bytes too many")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PolicyError(f"not a packed state: {error}") from error
    return header, arrays
