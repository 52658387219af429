"""Ids that nobody can guess, for events and rewards that have none: UUIDs of version 7 as clients make them, many at a time.

>>> made = new_id()
>>> len(made), made[12], made == new_id()
(32, '7', False)
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of which an id keeps 74 bits: where its time is known, 10^10 guesses a second take 30,000 years to come to it.
_BYTES = 10
# Ids that one call of the system is asked for: it costs more than all else that is done for a single one.
_AT_ONCE = 256
# The variant's two bits before two random ones.
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def _ids() -> Iterator[str]:
    while True:
        text = os.urandom(_AT_ONCE * _BYTES).hex()
        for begin in range(0, len(text), 2 * _BYTES):
            low = text[begin + 4 : begin + 19]
            now_ms = time.time_ns() // 1_000_000
            yield f"{now_ms:012x}7{text[begin : begin + 3]}{_VARIANT[text[begin + 3]]}{low}"


new_id = partial(next, _ids())
"""32 characters, 74 random bits among them. For one thread, and processes that were not forked after the first."""
