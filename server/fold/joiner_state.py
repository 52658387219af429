"""The joiner as canonical bytes, in parts, so that a million pending events are never in one piece besides themselves."""

from __future__ import annotations

import json
from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING

from server.fold.event import pending_at
from server.fold.joiner import Joiner, JoinRules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Events of one part: about a megabyte.
_PART = 10_000
_ENTRY = Struct("<16sI")  # key, length of the event's bytes, which follow


def dump(joiner: Joiner) -> Iterator[bytes]:
    """The state of a joiner: counters as JSON, then its events in the order in which their windows were opened."""
    numbers = {
        "arrivals": joiner.windows.arrivals,
        "open": joiner.open,
        "counters": joiner.counters,
    }
    head = json.dumps(numbers, sort_keys=True, separators=(",", ":")).encode()
    yield head
    events = joiner.windows.in_order()
    while part := list(islice(events, _PART)):
        yield b"".join(_ENTRY.pack(key, len(data)) + data for key, data in part)


def load(rules: JoinRules, parts: Iterable[bytes]) -> Joiner:
    """The joiner whose `dump` this is, under rules that may have changed since."""
    joiner = Joiner(rules)
    rest = iter(parts)
    numbers = json.loads(next(rest))
    joiner.open = numbers["open"]
    joiner.counters.update(numbers["counters"])
    joiner.windows.arrivals = numbers["arrivals"]
    for part in rest:
        at = 0
        while at < len(part):
            key, length = _ENTRY.unpack_from(part, at)
            at += _ENTRY.size
            joiner.windows.restore(key, part[at : at + length])
            at += length
    return joiner


def oldest_pending(joiner: Joiner) -> int | None:
    """The smallest sequence of a decision that is still to be read again, or None."""
    pending = (pending_at(data) for data in joiner.windows.events.values())
    return min((at for at in pending if at), default=None)
