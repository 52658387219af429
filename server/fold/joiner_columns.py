"""Reads the joiner's state as rankd wrote it before it wrote parts: columns of numbers, and tables of names."""

from __future__ import annotations

from typing import Any

import numpy as np

from policies.pack import unpack
from server.fold.event import Event, Place, RewardEntry, saved
from server.fold.joiner import Joiner, JoinRules

_DEFERRED, _ACTIVATED, _UNDELIVERED, _CLOSED, _OVER = 1, 2, 4, 8, 16


def load(rules: JoinRules, state: bytes) -> Joiner:
    """The joiner of that state, under rules that may have changed since."""
    header, arrays = unpack(state)
    nodes = header["nodes"]
    slots: list[Any] = [tuple(s) if isinstance(s, list) else s for s in header["slots"]]

    def place(node: int, sequence: int) -> Place | None:
        return None if node < 0 else (nodes[node], sequence)

    joiner = Joiner(rules)
    joiner.open = header["open"]
    joiner.counters.update(header["counters"])
    joiner.windows.arrivals = header["arrivals"]
    columns = arrays["events"] if "layout" in header else _of_first_layout(arrays["events"])
    events = []
    for row in columns.T.tolist():
        deadline, arrival, node, number, origin, slot, flags, at = row
        judged = [bool(flags & flag) for flag in (_DEFERRED, _ACTIVATED, _UNDELIVERED)]
        event = Event(deadline, arrival, at, nodes[node] if at else "", number, origin)
        event.slots = slots[slot]
        event.deferred, event.activated, event.undelivered = judged
        event.closed, event.over = bool(flags & _CLOSED), bool(flags & _OVER)
        events.append(event)
    for n, node, sequence, *at in arrays["rivals"].tolist():
        rival = (nodes[node], sequence), *(at or [sequence])
        events[n].rivals = (*events[n].rivals, rival)
    reward_keys = arrays["reward_keys"].tobytes()
    values = arrays["reward_values"].tolist()
    for i, (n, slot, origin, node, sequence) in enumerate(arrays["rewards"].tolist()):
        key = reward_keys[16 * i : 16 * i + 16]
        entry = RewardEntry(key, slots[slot], values[i], origin, place(node, sequence))
        events[n].rewards += entry.to_bytes()
    keys = arrays["keys"].tobytes()
    windows = joiner.windows
    for n, event in enumerate(events):
        data = saved(event.to_bytes(windows.nodes), windows.nodes)
        windows.restore(keys[16 * n : 16 * n + 16], data)
    return joiner


def _of_first_layout(events: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
    """The first wrote rows, without `at`: there it was the journal's own number."""
    return np.column_stack([events, np.where(events[:, 2] < 0, 0, events[:, 3])]).T
