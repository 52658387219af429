"""The joiner's index as canonical bytes: columns of numbers, so that 100,000 pending events take a few megabytes."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.pack import pack, unpack
from server.fold.joiner import Event, Joiner, JoinRules, Place, RewardEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Events that are turned into Python numbers at a time: some megabytes.
_PART = 10_000
_NOWHERE = (-1, 0)
_DEFERRED, _ACTIVATED, _UNDELIVERED, _CLOSED, _OVER = 1, 2, 4, 8, 16


class _Table:
    """Distinct values in order of first use; column entries are their numbers."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        return self.numbers.setdefault(value, len(self.numbers))


def dump(joiner: Joiner) -> bytes:
    """The state of a joiner."""
    nodes, slots = _Table(), _Table()

    def place(at: Place | None) -> tuple[int, int]:
        return (-1, 0) if at is None else (nodes.number(at[0]), at[1])

    # A million events may be pending: column by column, so that no second copy of them is made as Python objects.
    keys = sorted(joiner.events, key=lambda key: joiner.events[key].arrival)
    events = [joiner.events[key] for key in keys]
    columns = _columns(
        len(events),
        (e.deadline_us for e in events),
        (e.arrival for e in events),
        (nodes.number(e.node) if e.at else -1 for e in events),
        (e.number for e in events),
        (e.origin_us for e in events),
        (slots.number(e.slots) for e in events),
        (_flags(e) for e in events),
        (e.at for e in events),
    )
    rivals = [(n, *place(rival), at) for n, e in enumerate(events) for rival, at in e.rivals]
    kept = [r for e in events for r in e.rewards]
    shown = [place(r.shown) if r.shown else _NOWHERE for r in kept]
    rewards = _columns(
        len(kept),
        (n for n, e in enumerate(events) for _ in e.rewards),
        (slots.number(r.slot) for r in kept),
        (r.origin_us for r in kept),
        (node for node, _ in shown),
        (number for _, number in shown),
    )
    header = {
        "layout": 2,
        "arrivals": joiner.arrivals,
        "open": joiner.open,
        "counters": joiner.counters,
        "nodes": list(nodes.numbers),
        "slots": list(slots.numbers),
    }
    return pack(
        header,
        {
            "keys": _bytes(keys),
            "events": columns,
            "rivals": np.array(rivals, np.int64).reshape(-1, 4),
            "rewards": rewards.T,
            "reward_keys": _bytes([r.reward_key for r in kept]),
            "reward_values": np.fromiter((r.value for r in kept), np.float64, len(kept)),
        },
    )


def load(rules: JoinRules, state: bytes) -> Joiner:
    """The joiner whose `dump` this is, under rules that may have changed since."""
    header, arrays = unpack(state)
    nodes = header["nodes"]
    slots: list[Any] = [tuple(s) if isinstance(s, list) else s for s in header["slots"]]

    def place(node: int, sequence: int) -> Place | None:
        return None if node < 0 else (nodes[node], sequence)

    joiner = Joiner(rules)
    joiner.arrivals, joiner.open = header["arrivals"], header["open"]
    joiner.counters.update(header["counters"])
    events = []
    keys = arrays["keys"].tobytes()
    columns = arrays["events"] if "layout" in header else _of_first_layout(arrays["events"])
    for n, row in enumerate(_rows(columns)):
        deadline, arrival, node, number, origin, slot, flags, at = row
        event = Event(deadline, arrival, at, nodes[node] if at else "", number)
        event.origin_us, event.slots = origin, slots[slot]
        event.deferred = bool(flags & _DEFERRED)
        event.activated = bool(flags & _ACTIVATED)
        event.undelivered = bool(flags & _UNDELIVERED)
        event.closed = bool(flags & _CLOSED)
        event.over = bool(flags & _OVER)
        key = keys[16 * n : 16 * n + 16]
        joiner.events[key] = event
        joiner.deadlines.append((deadline, arrival, key))
        events.append(event)
    heapq.heapify(joiner.deadlines)
    for n, node, sequence, *at in arrays["rivals"].tolist():
        event = events[n]
        event.rivals = [*event.rivals, ((nodes[node], sequence), *(at or [sequence]))]
    reward_keys = arrays["reward_keys"].tobytes()
    values = arrays["reward_values"].tolist()
    for i, (n, slot, origin, node, sequence) in enumerate(_rows(arrays["rewards"].T)):
        key = reward_keys[16 * i : 16 * i + 16]
        entry = RewardEntry(key, slots[slot], values[i], origin, place(node, sequence))
        events[n].add(entry)
    return joiner


def oldest_pending(joiner: Joiner) -> int | None:
    """The smallest sequence of a decision that is still to be read again, or None."""
    pending = (e.at for e in joiner.events.values() if e.at and not e.closed)
    return min(pending, default=None)


def _columns(length: int, *values: Iterator[int]) -> NDArray[np.int64]:
    """[columns, length], filled one after the other."""
    columns = np.empty((len(values), length), np.int64)
    for column, numbers in zip(columns, values, strict=True):
        column[:] = np.fromiter(numbers, np.int64, length)
    return columns


def _flags(e: Event) -> int:
    return (
        _DEFERRED * e.deferred
        + _ACTIVATED * e.activated
        + _UNDELIVERED * e.undelivered
        + _CLOSED * e.closed
        + _OVER * e.over
    )


def _rows(columns: NDArray[np.int64]) -> Iterator[tuple[int, ...]]:
    """Row by row, a part at a time."""
    for start in range(0, columns.shape[1], _PART):
        yield from zip(*(column[start : start + _PART].tolist() for column in columns), strict=True)


def _of_first_layout(events: NDArray[np.int64]) -> NDArray[np.int64]:
    """Version 0.1.0 wrote rows, without `at`: there it was the journal's own number."""
    return np.column_stack([events, np.where(events[:, 2] < 0, 0, events[:, 3])]).T


def _bytes(keys: list[bytes]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(b"".join(keys), np.uint8)
