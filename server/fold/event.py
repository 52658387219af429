"""An event in its window: as an object while it is dealt with, as one `bytes` while it waits among a million others, and as
bytes that stand for themselves where it is saved.

What waits differs from what is saved in this: the journal's name, which millions share, is a number, and what an event has
none of takes no room.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Place = tuple[str, int]
"""(node, the journal's own number) of a Decision record: a decision_id, taken apart."""

# deadline, arrival, at, number, origin; flags; lengths of node, slots and rivals in bytes. The rest is rewards.
_EVENT = Struct("<qQQQqBHII")
_SAVED_LENGTHS = Struct("<HII")
# The same at rest, with the node's number instead of its length; lengths of slots and rivals follow if there are any.
_REST = Struct("<qQQQqBI")
_LENGTHS = Struct("<II")
_MORE = 32  # the flag that says so
# How both begin: the window, and what tells whether a decision is pending.
_WINDOW = Struct("<qQ")
_HEAD = Struct("<qQQQqB")
_FLAGS_AT = _HEAD.size - 1
_DEFERRED, _ACTIVATED, _UNDELIVERED, _CLOSED, _OVER = 1, 2, 4, 8, 16
_FLAGS = [tuple(bool(flags & 1 << bit) for bit in range(5)) for flags in range(32)]
# reward_key, value, origin; number of the decision shown; lengths of its node and of slot.
_REWARD = Struct("<16sdqQHI")
_RIVAL = Struct("<QQH")  # number, at; length of node
_LENGTH = Struct("<I")


@dataclass(slots=True)
class RewardEntry:
    """One reward that waits for its window to close."""

    reward_key: bytes  # 16 bytes, stands for the reward_id
    slot: str
    value: float
    origin_us: int
    shown: Place | None  # the decision that the client says was shown

    def to_bytes(self) -> bytes:
        node, number = self.shown or ("", 0)
        shown, slot = node.encode(), self.slot.encode()
        numbers = self.reward_key, self.value, self.origin_us, number, len(shown), len(slot)
        return _REWARD.pack(*numbers) + shown + slot


def rewards_in(data: bytes) -> Iterator[RewardEntry]:
    """The rewards whose bytes stand there one after another."""
    at = 0
    while at < len(data):
        key, value, origin, number, shown, slot = _REWARD.unpack_from(data, at)
        at += _REWARD.size
        node = data[at : at + shown].decode()
        name = data[at + shown : at + shown + slot].decode()
        at += shown + slot
        yield RewardEntry(key, name, value, origin, (node, number) if shown else None)


class Nodes:
    """Names of journals, numbered in the order in which they were met: one for each time that a journal was opened."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._saved: dict[bytes, bytes] = {}

    def number(self, name: str) -> int:
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.names)
            self.names.append(name)
        return found

    def saved(self, number: bytes) -> bytes:
        """What stands in place of a node's number, as events have it, where one without slots and rivals is saved."""
        found = self._saved.get(number)
        if found is None:
            name = self.names[int.from_bytes(number, "little")].encode()
            found = self._saved[number] = _SAVED_LENGTHS.pack(len(name), 0, 0) + name
        return found


@dataclass(slots=True)
class Event:
    """One event in its window. Before its decision it only has early rewards and activations."""

    deadline_us: int = 0  # running time at which its window closes
    arrival: int = 0  # breaks ties between deadlines
    at: int = 0  # sequence of the decision's record; 0: none has come yet
    node: str = ""  # with number, the decision's place
    number: int = 0
    origin_us: int = 0
    slots: tuple[str, ...] = ()
    deferred: bool = False
    activated: bool = False
    undelivered: bool = False
    closed: bool = False  # judged; kept to tell late and duplicate rewards
    over: bool = False  # its window has passed, and it is kept for another one
    rivals: tuple[tuple[Place, int], ...] = ()  # decisions that differ, and their sequences
    rewards: bytes = b""  # as `to_bytes` makes them: adding one to many costs no more than to none

    def has(self, reward_key: bytes) -> bool:
        """Whether a reward of that key is among its rewards."""
        if reward_key not in self.rewards:
            return False
        return any(reward.reward_key == reward_key for reward in rewards_in(self.rewards))

    def to_bytes(self, nodes: Nodes) -> bytes:
        """The event at rest: 45 bytes for a decision, and some 90 more for a reward that names it."""
        more = bool(self.slots or self.rivals)
        flags = (
            _DEFERRED * self.deferred
            + _ACTIVATED * self.activated
            + _UNDELIVERED * self.undelivered
            + _CLOSED * self.closed
            + _OVER * self.over
            + _MORE * more
        )
        head = _REST.pack(
            self.deadline_us,
            self.arrival,
            self.at,
            self.number,
            self.origin_us,
            flags,
            nodes.number(self.node),
        )
        if not more:
            return head + self.rewards
        slots, rivals = b"".join(_texts(self.slots)), b"".join(_rivals(self.rivals))
        return head + _LENGTHS.pack(len(slots), len(rivals)) + slots + rivals + self.rewards

    @classmethod
    def from_bytes(cls, data: bytes, nodes: Nodes) -> Event:
        """The event that `to_bytes` was called on."""
        deadline, arrival, at, number, origin, flags, node = _REST.unpack_from(data)
        name = nodes.names[node]
        event = cls(deadline, arrival, at, name, number, origin, (), *_FLAGS[flags & ~_MORE])
        start = _REST.size
        if flags & _MORE:
            slots, rivals = _LENGTHS.unpack_from(data, start)
            start += _LENGTHS.size
            event.slots = tuple(_texts_in(data[start : start + slots]))
            start += slots
            event.rivals = tuple(_rivals_in(data[start : start + rivals]))
            start += rivals
        event.rewards = data[start:]
        return event


def saved(data: bytes, nodes: Nodes) -> bytes:
    """An event at rest as checkpoints have it: equal events, equal bytes."""
    start = _REST.size
    if not data[_FLAGS_AT] & _MORE:  # as most are: what comes before the node is the same
        return data[: _HEAD.size] + nodes.saved(data[_HEAD.size : start]) + data[start:]
    *numbers, flags, node = _REST.unpack_from(data)
    slots, rivals = _LENGTHS.unpack_from(data, start)
    start += _LENGTHS.size
    name: bytes = nodes.names[node].encode()
    head = _EVENT.pack(*numbers, flags & ~_MORE, len(name), slots, rivals)
    return head + name + data[start:]


def at_rest(data: bytes, nodes: Nodes) -> bytes:
    """What `saved` was called on."""
    *numbers, flags, length, slots, rivals = _EVENT.unpack_from(data)
    start = _EVENT.size + length
    node = nodes.number(data[_EVENT.size : start].decode())
    if not (slots or rivals):
        return _REST.pack(*numbers, flags, node) + data[start:]
    return _REST.pack(*numbers, flags | _MORE, node) + _LENGTHS.pack(slots, rivals) + data[start:]


def passed(data: bytes) -> bool:
    """Whether the event at rest is over, so that nothing is left to be judged."""
    return bool(data[_FLAGS_AT] & _OVER)


def window(data: bytes) -> tuple[int, int]:
    """(deadline_us, arrival) of the event with these bytes, at rest or saved."""
    deadline, arrival = _WINDOW.unpack_from(data)
    return deadline, arrival


def origin(data: bytes) -> int:
    """origin_us of the event with these bytes."""
    return int(_HEAD.unpack_from(data)[4])


def pending_at(data: bytes) -> int:
    """Sequence of the decision that the event with these bytes still has to be learned from, or 0."""
    _, _, at, _, _, flags = _HEAD.unpack_from(data)
    return 0 if flags & _CLOSED else int(at)


def _texts(texts: Iterable[str]) -> Iterator[bytes]:
    for text in texts:
        data = text.encode()
        yield _LENGTH.pack(len(data)) + data


def _texts_in(data: bytes) -> Iterator[str]:
    at = 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        yield data[at : at + length].decode()
        at += length


def _rivals(rivals: Iterable[tuple[Place, int]]) -> Iterator[bytes]:
    for (node, number), at in rivals:
        data = node.encode()
        yield _RIVAL.pack(number, at, len(data)) + data


def _rivals_in(data: bytes) -> Iterator[tuple[Place, int]]:
    start = 0
    while start < len(data):
        number, at, length = _RIVAL.unpack_from(data, start)
        start += _RIVAL.size
        yield (data[start : start + length].decode(), number), at
        start += length
