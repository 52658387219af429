"""Canonical bytes: what goes in comes out to the bit, and nothing else comes in."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from policies import PolicyError
from policies.pack import pack, unpack

ARRAY = st.sampled_from([np.float64, np.float32, np.int64, np.uint64, np.uint8]).flatmap(
    lambda kind: arrays(kind, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SMALL = pack({"b": [1, "x"]}, {"v": np.arange(4.0), "w": np.array([7], np.uint8)})


@given(st.dictionaries(st.text(), JSON, max_size=3), st.dictionaries(st.text(), ARRAY, max_size=3))
def test_round_trip(header: dict[str, Any], content: dict[str, Any]) -> None:
    data = pack(header, content)
    again, back = unpack(data)
    assert again == header
    assert back.keys() == content.keys()
    for name, array in content.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()  # NaNs and -0.0 too
        assert back[name].flags.writeable
    assert pack(again, back) == data


def test_equal_content_gives_equal_bytes() -> None:
    x, y = np.arange(6.0).reshape(2, 3), np.arange(3)
    one = pack({"a": 1, "b": 2}, {"x": x, "y": y})
    assert pack({"b": 2, "a": 1}, {"y": y, "x": x}) == one
    assert pack({"a": 1, "b": 2}, {"x": np.asfortranarray(x), "y": y[::1]}) == one
    assert pack({"a": 1, "b": 2}, {"x": x.astype(">f8"), "y": y.astype(">i8")}) == one


def test_every_cut_is_refused() -> None:
    for size in range(len(SMALL)):
        with pytest.raises(PolicyError):
            unpack(SMALL[:size])
    with pytest.raises(PolicyError):
        unpack(SMALL + b"\0")


def test_every_flipped_bit_is_refused() -> None:
    for bit in range(8 * len(SMALL)):
        bad = bytearray(SMALL)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PolicyError):
            unpack(bytes(bad))


@given(st.binary(max_size=100))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(PolicyError):
        unpack(noise)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"header":1,"arrays":{}}',
        b'{"header":{},"arrays":[1]}',
        b'{"header":{},"arrays":{"a":1}}',
        b'{"header":{},"arrays":{"a":["<f2",[1]]}}',
        b'{"header":{},"arrays":{"a":["<f8",[-1]]}}',
        b'{"header":{},"arrays":{"a":["<f8",[2]]}}',
        b'{"header":{},"arrays":{"a":["<f8","x"]}}',
        b'{"header":{},"arrays":{"a":[[],[1]]}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_right_digest_over_nonsense_is_refused(head: bytes) -> None:
    body = len(head).to_bytes(8, "little") + head + b"\0" * 8
    with pytest.raises(PolicyError):
        unpack(body + blake2b(body, digest_size=16).digest())


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(TypeError, match="'x' has the unsupported type float16"):
        pack({}, {"x": np.zeros(2, np.float16)})
    with pytest.raises(TypeError, match="unsupported type object"):
        pack({}, {"x": np.array([None])})
    with pytest.raises(ValueError, match="JSON"):
        pack({"x": float("nan")}, {})
