"""What was not signed with the key, for the place, as it is, is refused."""

from __future__ import annotations

import pytest

from server.redis.seal import SIZE, ForgedError, checked, sign

KEY = bytes(range(32))
DATA = b"a model"
SIGNED = sign(KEY, "model/shop", DATA)


def test_signed_data_comes_back() -> None:
    assert checked(KEY, "model/shop", SIGNED) == DATA
    assert checked(KEY, "", sign(KEY, "", b"")) == b""
    assert len(SIGNED) == SIZE + len(DATA)


def test_another_key_or_place_is_refused() -> None:
    for key, purpose in ((KEY[:-1] + b"\0", "model/shop"), (KEY, "model/news"), (KEY, "")):
        with pytest.raises(ForgedError, match="not signed with"):
            checked(key, purpose, SIGNED)


def test_a_part_of_the_place_is_no_part_of_the_data() -> None:
    with pytest.raises(ForgedError):
        checked(KEY, "model/sho", SIGNED[:SIZE] + b"p" + DATA)


@pytest.mark.parametrize("size", range(len(SIGNED)))
def test_cut_short_anywhere(size: int) -> None:
    with pytest.raises(ForgedError):
        checked(KEY, "model/shop", SIGNED[:size])


@pytest.mark.parametrize("at", range(len(SIGNED)))
def test_one_bit_flipped_anywhere(at: int) -> None:
    for bit in range(8):
        data = bytearray(SIGNED)
        data[at] ^= 1 << bit
        with pytest.raises(ForgedError):
            checked(KEY, "model/shop", bytes(data))
