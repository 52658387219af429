"""Ids that nobody can guess, for events and rewards that have none.

>>> len(new_id()), new_id() == new_id()
(32, False)
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BYTES = 16
# Ids that one call of the system is asked for: it costs more than all else that is done for a single one.
_AT_ONCE = 256


def _ids() -> Iterator[str]:
    while True:
        text = os.urandom(_AT_ONCE * _BYTES).hex()
        for begin in range(0, len(text), 2 * _BYTES):
            yield text[begin : begin + 2 * _BYTES]


new_id = partial(next, _ids())
"""128 random bits as 32 characters. For one thread, and processes that were not forked after the first."""
