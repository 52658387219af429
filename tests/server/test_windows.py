"""Events at rest are the events that were put there, and windows close in the order of a heap."""

from __future__ import annotations

import heapq

from hypothesis import given
from hypothesis import strategies as st

from server.fold.event import (
    Event,
    Nodes,
    RewardEntry,
    at_rest,
    pending_at,
    rewards_in,
    saved,
    window,
)
from server.fold.windows import Windows

names = st.text(max_size=5)
numbers = st.integers(0, 2**63 - 1)
places = st.tuples(st.text(min_size=1, max_size=5), numbers)
entries = st.lists(
    st.builds(
        RewardEntry,
        reward_key=st.binary(min_size=16, max_size=16),
        slot=names,
        value=st.floats(allow_nan=False),
        origin_us=st.integers(-(2**63), 2**63 - 1),
        shown=st.none() | places,
    ),
    max_size=3,
)
events = st.builds(
    Event,
    deadline_us=numbers,
    arrival=numbers,
    at=numbers,
    node=names,
    number=numbers,
    origin_us=st.integers(-(2**63), 2**63 - 1),
    slots=st.lists(names, max_size=3).map(tuple),
    deferred=st.booleans(),
    activated=st.booleans(),
    undelivered=st.booleans(),
    closed=st.booleans(),
    over=st.booleans(),
    rivals=st.lists(st.tuples(places, numbers), max_size=3).map(tuple),
    rewards=entries.map(lambda found: b"".join(entry.to_bytes() for entry in found)),
)


@given(events)
def test_an_event_is_its_bytes(event: Event) -> None:
    """At rest, and as it is saved, whoever reads that."""
    nodes, others = Nodes(), Nodes()
    others.number("another")
    data = event.to_bytes(nodes)
    assert Event.from_bytes(data, nodes) == event
    assert at_rest(saved(data, nodes), nodes) == data
    assert Event.from_bytes(at_rest(saved(data, nodes), others), others) == event
    for each in (data, saved(data, nodes)):
        assert window(each) == (event.deadline_us, event.arrival)
        assert pending_at(each) == (0 if event.closed else event.at)


@given(entries)
def test_rewards_are_their_bytes(rewards: list[RewardEntry]) -> None:
    data = b"".join(reward.to_bytes() for reward in rewards)
    assert list(rewards_in(data)) == rewards
    event = Event(rewards=data)
    assert all(event.has(reward.reward_key) for reward in rewards)


def test_a_key_inside_another_field_is_no_reward() -> None:
    inside = "sixteen letters!"
    event = Event(rewards=RewardEntry(b"k" * 16, inside, 1.0, 0, None).to_bytes())
    assert not event.has(inside.encode())
    assert event.has(b"k" * 16)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 3, 7]), st.booleans())))
def test_windows_close_in_the_order_of_a_heap(steps: list[tuple[int, int, bool]]) -> None:
    """Five events open windows of three lengths while time goes on, and are saved and loaded between."""
    windows = Windows()
    heap: list[tuple[int, int, bytes]] = []
    arrivals: dict[bytes, int] = {}
    for now, (number, length, anew) in enumerate(steps):
        while heap and (heap[0][0] <= now or arrivals.get(heap[0][2]) != heap[0][1]):
            deadline, arrival, key = heapq.heappop(heap)
            if arrivals.get(key) == arrival:
                due = windows.take_due(now)
                assert due is not None
                assert (due[0], due[1].deadline_us) == (key, deadline)
                windows.drop(key)
                del arrivals[key]
        assert windows.take_due(now) is None
        if anew:
            windows = again(windows)
        key = bytes([number]) * 16
        event = windows.get(key) or Event()
        windows.open(key, event, now + length)
        windows.put(key, event)
        arrivals[key] = windows.arrivals
        heapq.heappush(heap, (now + length, windows.arrivals, key))


def test_a_run_lets_go_of_what_was_taken() -> None:
    """More windows than a run remembers of those that were taken."""
    windows = Windows()
    for now in range(150_000):
        key = now.to_bytes(16, "big")
        event = Event()
        windows.open(key, event, now + 10)
        windows.put(key, event)
        while (due := windows.take_due(now)) is not None:
            assert due[0] == (now - 10).to_bytes(16, "big")
            windows.drop(due[0])
    assert [int.from_bytes(key, "big") for key, _ in windows.in_order()] == list(
        range(149_990, 150_000)
    )


def again(windows: Windows) -> Windows:
    """The same from its own events."""
    loaded = Windows()
    loaded.arrivals = windows.arrivals
    for key, data in windows.in_order():
        loaded.restore(key, data)
    return loaded
