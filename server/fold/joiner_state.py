"""The joiner's index as canonical bytes: columns of numbers, so that 100,000 pending events take a few megabytes."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from policies.pack import pack, unpack
from server.fold.joiner import Event, Joiner, JoinRules, Place, RewardEntry

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

    events = sorted(joiner.events.items(), key=lambda item: item[1].arrival)
    rows: list[tuple[int, ...]] = []
    rivals: list[tuple[int, ...]] = []
    rewards: list[tuple[int, ...]] = []
    for n, (_, e) in enumerate(events):
        flags = (
            _DEFERRED * e.deferred
            + _ACTIVATED * e.activated
            + _UNDELIVERED * e.undelivered
            + _CLOSED * e.closed
            + _OVER * e.over
        )
        slot = slots.number(e.slots)
        rows.append((e.deadline_us, e.arrival, *place(e.decision), e.origin_us, slot, flags))
        rivals.extend((n, *place(rival)) for rival in e.rivals)
        rewards.extend((n, slots.number(r.slot), r.origin_us, *place(r.shown)) for r in e.rewards)
    kept = [r for _, e in events for r in e.rewards]
    header = {
        "arrivals": joiner.arrivals,
        "open": joiner.open,
        "counters": joiner.counters,
        "nodes": list(nodes.numbers),
        "slots": list(slots.numbers),
    }
    return pack(
        header,
        {
            "keys": _bytes([key for key, _ in events]),
            "events": np.array(rows, np.int64).reshape(-1, 7),
            "rivals": np.array(rivals, np.int64).reshape(-1, 3),
            "rewards": np.array(rewards, np.int64).reshape(-1, 5),
            "reward_keys": _bytes([r.reward_key for r in kept]),
            "reward_values": np.array([r.value for r in kept], np.float64),
        },
    )


def load(rules: JoinRules, state: bytes) -> Joiner:
    """The joiner whose `dump` this is, under rules that may have changed since."""
    header, arrays = unpack(state)
    nodes = header["nodes"]
    slots = [tuple(s) if isinstance(s, list) else s for s in header["slots"]]

    def place(node: int, sequence: int) -> Place | None:
        return None if node < 0 else (nodes[node], sequence)

    joiner = Joiner(rules)
    joiner.arrivals, joiner.open = header["arrivals"], header["open"]
    joiner.counters.update(header["counters"])
    events = []
    keys = arrays["keys"].tobytes()
    for n, row in enumerate(arrays["events"].tolist()):
        deadline, arrival, node, sequence, origin, slot, flags = row
        event = Event(deadline, arrival, place(node, sequence))
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
    for n, node, sequence in arrays["rivals"].tolist():
        events[n].rivals.append((nodes[node], sequence))
    reward_keys = arrays["reward_keys"].tobytes()
    values = arrays["reward_values"].tolist()
    for i, (n, slot, origin, node, sequence) in enumerate(arrays["rewards"].tolist()):
        key = reward_keys[16 * i : 16 * i + 16]
        entry = RewardEntry(key, slots[slot], values[i], origin, place(node, sequence))
        events[n].rewards.append(entry)
    return joiner


def oldest_pending(joiner: Joiner) -> int | None:
    """The smallest sequence of a decision that is still to be read again, or None."""
    pending = [e.decision[1] for e in joiner.events.values() if e.decision and not e.closed]
    return min(pending, default=None)


def _bytes(keys: list[bytes]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(b"".join(keys), np.uint8)
