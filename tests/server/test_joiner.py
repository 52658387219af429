"""Decisions meet their rewards: against a reference that is slow and plain, and case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.fold.event import RewardEntry
from server.fold.joiner import Joined, Joiner, JoinRules
from server.fold.joiner_state import dump, load, oldest_pending
from tests.server.reference_joiner import Activated, Decided, Record, ReferenceJoiner

RULES = JoinRules(
    wait_us=100, lateness_us=20, skew_us=10, aggregation="earliest", default=-1.0, always_sent=False
)
CLOSED = 121  # a running time at which a window that opened at 0 has closed
A, B, C = (bytes([letter]) * 16 for letter in b"ABC")
NODE = "node.1"

rules = st.builds(
    replace,
    st.just(RULES),
    aggregation=st.sampled_from(["earliest", "sum", "max", "mean", "last"]),
    always_sent=st.booleans(),
)
rewards = st.builds(
    RewardEntry,
    reward_key=st.sampled_from([b"1" * 16, b"2" * 16, b"3" * 16, b"4" * 16]),
    slot=st.sampled_from(["", "", "left", "right", "nowhere"]),
    value=st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]),
    origin_us=st.integers(0, 500),
    shown=st.none() | st.builds(lambda n: (NODE, n), st.integers(1, 12)),
)
REDELIVERED = [Activated(delivered=True, by_client=False)]
activations = st.sampled_from(
    [*REDELIVERED, Activated(delivered=False, by_client=False), Activated(True, by_client=True)]
)
decisions = st.builds(
    Decided,
    place=st.none(),
    origin_us=st.integers(0, 400),
    slots=st.sampled_from([(), (), ("left",), ("left", "right")]),
    deferred=st.booleans(),
)
logs = st.lists(
    st.tuples(
        st.integers(0, 60),  # running time since the record before
        st.sampled_from([A, B, C]),
        decisions | rewards | activations,
        st.booleans(),  # whether the joiner is saved and loaded here
    ),
    max_size=40,
)


def take(joiner: Joiner, key: bytes, record: Record, now: int) -> list[Joined]:
    if isinstance(record, Decided):
        event = (key, record.place, record.at, record.origin_us, record.slots, record.deferred, now)
        return list(joiner.decision(*event))
    if isinstance(record, Activated):
        return list(joiner.activation(key, record.delivered, record.by_client, now))
    return list(joiner.reward(key, record, now))


@settings(max_examples=400, deadline=None)
@given(rules, logs)
def test_it_agrees_with_the_reference(
    how: JoinRules, log: list[tuple[int, bytes, Record, bool]]
) -> None:
    joiner, reference, now = Joiner(how), ReferenceJoiner(how), 0
    for number, (step, key, record, saved) in enumerate(log, 1):
        now += step
        assert list(joiner.close_due(now)) == reference.close_due(now)
        story = reference.stories.get(key)
        if isinstance(record, Decided):
            record = replace(record, place=(NODE, number))
        elif record in REDELIVERED and (story is None or not story.decisions):
            continue  # a redelivery is logged by the same journal after its decision, never before
        assert take(joiner, key, record, now) == reference.take(key, record, now)
        assert joiner.open == reference.open
        assert +reference.counters == {n: c for n, c in joiner.counters.items() if c}
        if saved:
            state = list(dump(joiner))
            joiner = load(how, state)
            assert list(dump(joiner)) == state
    now += how.wait_us + how.lateness_us
    assert list(joiner.close_due(now)) == reference.close_due(now)
    assert joiner.open == 0
    now += how.wait_us + how.lateness_us  # for which it can still tell late rewards
    assert list(joiner.close_due(now)) == reference.close_due(now) == []
    assert not joiner.windows.events
    assert +reference.counters == {n: c for n, c in joiner.counters.items() if c}


def joiner_with_decision(how: JoinRules = RULES, **changed: object) -> Joiner:
    """One decision of event A at running time 0 and origin 1,000."""
    joiner = Joiner(how)
    decided = {"place": (NODE, 1), "origin_us": 1_000, "slots": (), "deferred": False, **changed}
    assert take(joiner, A, Decided(**decided), 0) == []  # type: ignore[arg-type]
    return joiner


def reward(value: float, origin_us: int = 1_000, key: bytes = b"r", slot: str = "") -> RewardEntry:
    return RewardEntry(key * 16, slot, value, origin_us, None)


def test_a_decision_is_final_when_its_window_closes_and_not_before() -> None:
    joiner = joiner_with_decision()
    take(joiner, A, reward(0.5), 50)
    assert list(joiner.close_due(119)) == []
    assert joiner.open == 1
    assert list(joiner.close_due(120)) == [Joined(101, {0: 0.5})]
    assert joiner.open == 0


def test_after_its_window_a_reward_is_late_and_after_another_nobody_knows_it() -> None:
    joiner = joiner_with_decision()
    assert len(list(joiner.close_due(120))) == 1
    take(joiner, A, reward(0.5), 130)
    assert joiner.counters["late_rewards"] == 1
    assert list(joiner.close_due(240)) == []
    take(joiner, A, reward(0.5), 250)
    assert list(joiner.close_due(370)) == []
    assert joiner.counters["dangling_rewards"] == 1


def test_without_a_reward_it_gets_the_default() -> None:
    joiner = joiner_with_decision()
    assert list(joiner.close_due(CLOSED)) == [Joined(101, {0: -1.0})]
    assert joiner.counters["defaulted"] == 1


@pytest.mark.parametrize(("origin", "joined"), [(900, 1), (1_110, 1), (1_111, 0)])
def test_origin_stamps_tell_whether_a_reward_is_inside(origin: int, joined: int) -> None:
    """wait 100 + skew 10 after the decision's 1,000; what came before it by its own clock is inside."""
    joiner = joiner_with_decision()
    take(joiner, A, reward(0.5, origin), 10)
    assert (joiner.counters["joined"], joiner.counters["late_rewards"]) == (joined, 1 - joined)
    assert list(joiner.close_due(CLOSED)) == [Joined(101, {0: 0.5 if joined else -1.0})]


def test_an_early_reward_waits_for_its_decision() -> None:
    joiner = Joiner(RULES)
    take(joiner, A, reward(0.5), 0)
    take(joiner, A, Decided((NODE, 2), 1_000, (), False), 119)
    assert list(joiner.close_due(200)) == [], "the window opens with the decision"
    assert list(joiner.close_due(239)) == [Joined(102, {0: 0.5})]


def test_a_reward_without_decision_is_dangling_after_a_window() -> None:
    joiner = Joiner(RULES)
    take(joiner, A, reward(0.5), 0)
    assert list(joiner.close_due(119)) == []
    assert joiner.counters["dangling_rewards"] == 0
    assert list(joiner.close_due(120)) == []
    assert joiner.counters["dangling_rewards"] == 1


def test_a_repeated_reward_id_counts_once() -> None:
    how = replace(RULES, aggregation="sum")
    joiner = joiner_with_decision(how)
    for value, key in ((0.5, b"r"), (0.5, b"r"), (0.25, b"s")):
        take(joiner, A, reward(value, key=key), 1)
    assert list(joiner.close_due(CLOSED)) == [Joined(101, {0: 0.75})]
    assert joiner.counters["duplicate_rewards"] == 1


@pytest.mark.parametrize(
    ("how", "expected"),
    [("earliest", 0.5), ("last", 0.25), ("sum", 0.5), ("max", 0.5), ("mean", 0.5 / 3)],
)
def test_aggregation(how: str, expected: float) -> None:
    """In log order 0.25, 0.5, -0.25; by origin 0.5, -0.25, 0.25."""
    joiner = joiner_with_decision(replace(RULES, aggregation=how))  # type: ignore[arg-type]
    for i, (value, origin) in enumerate(((0.25, 1_030), (0.5, 1_010), (-0.25, 1_020))):
        take(joiner, A, reward(value, origin, bytes([i])), 1)
    (joined,) = joiner.close_due(CLOSED)
    assert joined.rewards == {0: expected}


def test_each_slot_has_its_own_reward() -> None:
    joiner = joiner_with_decision(slots=("left", "right"))
    take(joiner, A, reward(0.5, slot="right"), 1)
    take(joiner, A, reward(1.0, key=b"x", slot="nowhere"), 1)
    (joined,) = joiner.close_due(CLOSED)
    assert joined.rewards == {0: -1.0, 1: 0.5}


def test_always_sent_learns_on_arrival_and_never_the_default() -> None:
    how = replace(RULES, always_sent=True)
    joiner = joiner_with_decision(how, slots=("left", "right"))
    assert take(joiner, A, reward(0.5, slot="left"), 1) == []
    learned = take(joiner, A, reward(1.0, key=b"s", slot="right"), 2)
    assert learned == [Joined(101, {0: 0.5, 1: 1.0})]
    assert take(joiner, A, reward(1.0, key=b"t"), 3) == []
    assert joiner.counters["late_rewards"] == 1
    take(joiner, B, Decided((NODE, 9), 1_000, (), False), 3)
    assert list(joiner.close_due(999)) == [Joined(109, {})]
    assert joiner.counters["unrewarded"] == 1
    assert joiner.counters["defaulted"] == 0


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("happened", ["nothing", "undelivered", "client", "redelivered"])
def test_only_what_was_shown_is_learned(deferred: bool, happened: str) -> None:
    joiner = joiner_with_decision(deferred=deferred)
    if happened != "nothing":
        take(joiner, A, Activated(happened != "undelivered", happened == "client"), 1)
    learned = list(joiner.close_due(CLOSED))
    shown = happened == "client" or (not deferred and happened != "undelivered")
    assert learned == ([Joined(101, {0: -1.0})] if shown else [])
    left = joiner.counters["not_activated" if deferred else "undelivered"]
    assert left == (0 if shown else 1)


@pytest.mark.parametrize("order", [(False, True), (True, False)])
def test_delivered_once_outweighs_a_failed_delivery(order: tuple[bool, bool]) -> None:
    joiner = joiner_with_decision()
    for delivered in order:
        take(joiner, A, Activated(delivered, by_client=False), 1)
    assert len(list(joiner.close_due(CLOSED))) == 1


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([None], None),
        ([1], 1),
        ([2], 2),
        ([1, 2], None),
        ([7], None),
    ],
    ids=["no echo", "the first", "the second", "both", "neither"],
)
def test_two_decisions_of_one_event(shown: list[int | None], expected: int | None) -> None:
    joiner = joiner_with_decision()
    take(joiner, A, Decided((NODE, 2), 1_000, (), False), 1)
    for i, number in enumerate(shown):
        place = None if number is None else (NODE, number)
        take(joiner, A, RewardEntry(bytes([i]) * 16, "", 0.5, 1_000, place), 1)
    learned = [joined.at for joined in joiner.close_due(CLOSED)]
    assert learned == ([] if expected is None else [100 + expected])
    assert joiner.counters["void"] == (expected is None)


def test_a_shorter_window_from_now_on() -> None:
    """Its rules change while an early reward waits: the window of its decision is the new, short one."""
    joiner = Joiner(RULES)
    take(joiner, A, reward(0.5), 0)
    joiner.rules = replace(RULES, wait_us=5, lateness_us=0)
    take(joiner, A, Decided((NODE, 1), 1_000, (), False), 1)
    assert list(joiner.close_due(6)) == [Joined(101, {0: 0.5})]
    assert list(joiner.close_due(CLOSED)) == []
    assert joiner.counters["dangling_rewards"] == 0


def test_the_oldest_record_still_needed() -> None:
    joiner = Joiner(RULES)
    assert oldest_pending(joiner) is None
    take(joiner, A, reward(0.5), 0)
    assert oldest_pending(joiner) is None
    take(joiner, B, Decided((NODE, 7), 0, (), False), 1)
    take(joiner, C, Decided((NODE, 5), 0, (), False), 2)
    assert oldest_pending(joiner) == 105
    list(joiner.close_due(CLOSED + 1))
    assert oldest_pending(joiner) is None
