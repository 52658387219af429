"""Ids for events and rewards that have none, many at a time.

>>> len(new_id()), new_id() == new_id()
(32, False)
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from rankd.ids import RANDOM_BYTES, id_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# Ids that one call of the system is asked for: it costs more than all else that is done for a single one.
_AT_ONCE = 256


def _ids() -> Iterator[str]:
    while True:
        text = os.urandom(_AT_ONCE * RANDOM_BYTES).hex()
        for begin in range(0, len(text), 2 * RANDOM_BYTES):
            yield id_of(text[begin : begin + 2 * RANDOM_BYTES])


new_id = partial(next, _ids())
"""As `rankd.ids.new_id`. For one thread, and processes that were not forked after the first."""
