"""Signatures of what is kept in Redis: HMAC-SHA256, checked before a single byte is parsed.

Layout: 32 bytes HMAC, the data. The HMAC covers the purpose, too: the name of the place that the value was made for.
So nobody who lacks the key can put one app's model, or one event's decision, in the place of another.
"""

from __future__ import annotations

import hashlib
import hmac

SIZE = hashlib.sha256().digest_size


class ForgedError(Exception):
    """The bytes were not signed with this key for this purpose, or were altered since. Nothing of them was parsed."""


def sign(key: bytes, purpose: str, data: bytes) -> bytes:
    """The data with its signature before it."""
    return _hmac(key, purpose, data) + data


def checked(key: bytes, purpose: str, data: bytes) -> bytes:
    """The data without its signature. Takes the same time wherever a signature is wrong.

    Raises:
        ForgedError: it was not signed so.
    """
    found, rest = data[:SIZE], data[SIZE:]
    if not hmac.compare_digest(found, _hmac(key, purpose, rest)):
        raise ForgedError(f"{purpose}: not signed with redis.key")
    return rest


def _hmac(key: bytes, purpose: str, data: bytes) -> bytes:
    name = purpose.encode()
    mac = hmac.new(key, len(name).to_bytes(4, "big") + name, hashlib.sha256)
    mac.update(data)
    return mac.digest()
