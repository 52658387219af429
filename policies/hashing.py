"""Names become numbers: feature hashing after Weinberger et al. (2009), "Feature Hashing for Large Scale Multitask
Learning", but with 64 bits and no buckets: whether and how to fold them into a smaller space is each policy's own affair.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# Names whose hashes are kept. Names longer than 64 characters are hashed each time, because a client that sends ever new
# ones must not fill the memory: 65,536 x (2 names of 64 characters + 300 bytes) = 28 MB at worst (ASCII).
_CACHE = 65_536
_CACHED_LENGTH = 64
# Vector layouts are few. Longer ones are hashed each time: 256 x 4,096 elements x 8 bytes = 8 MB at worst.
_VECTOR_CACHE = 256
_CACHED_SIZE = 4_096


def feature_index(*parts: str) -> int:
    """64 bits of BLAKE2b over the parts, each led by its length, so that no two lists of parts look alike.

    >>> feature_index("a", "bc") == feature_index("ab", "c")
    False
    """
    return hash_for(parts)(*parts)


def action_index(action_id: str) -> int:
    """The index of the feature "this is that action", for policies that share one model among actions."""
    return feature_index("i", action_id)


def hash_for(names: Sequence[str]) -> Callable[..., int]:
    """`feature_index` for names none of which is longer than these; they may be too long to be kept."""
    return _index if max(map(len, names)) > _CACHED_LENGTH else _cached_index


def vector_index(size: int, *parts: str) -> NDArray[np.uint64]:
    """The indices of a vector's elements, [size]."""
    return (_cached_vector_index if size <= _CACHED_SIZE else _vector_index)(size, *parts)


def namespace_letter(namespace: str, role: str) -> int:
    """The letter by which VW's interactions name a namespace: its own first ASCII letter, or the role's ('c', 'a').

    >>> chr(namespace_letter("user", "c")), chr(namespace_letter("", "a")), chr(namespace_letter("|x", "c"))
    ('u', 'a', 'c')
    """
    first = namespace[:1]
    return ord(first) if first.isascii() and first.isalpha() else ord(role)


def _index(*parts: str) -> int:
    digest = blake2b(digest_size=8, person=b"rankd.feature")
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "little"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "little")


_cached_index = lru_cache(maxsize=_CACHE)(_index)


def _vector_index(size: int, *parts: str) -> NDArray[np.uint64]:
    index = np.array([_index(*parts, str(i)) for i in range(size)], np.uint64)
    index.setflags(write=False)
    return index


_cached_vector_index = lru_cache(maxsize=_VECTOR_CACHE)(_vector_index)
