"""However the partitions are read, and wherever the merge is stopped: one order, without gap or copy."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.fold import AppFold
from server.fold.merge import DeadLetter, Merger, Message
from server.fold.records import LogError, LogRecord
from tests.server.scribe import SETTINGS, Scribe
from tests.server.topics import APP, MS, Topic, folder

if TYPE_CHECKING:
    from collections.abc import Iterable

Item = LogRecord | DeadLetter
Place = tuple[int, int]  # (partition, offset)


class Story:
    """A topic that random nodes wrote: what is in it, and which messages are copies or no records at all."""

    def __init__(self, seed: int, partitions: int, messages: int = 120) -> None:
        self.rng = rng = random.Random(seed)
        self.topic = Topic()
        self.copies: set[Place] = set()
        self.dead: set[Place] = set()
        self.numbers: dict[str, int] = {}
        self.sent: dict[tuple[str, int], list[Message]] = {}
        self.known = 1  # partitions, as the last Config says
        self._config(rng.choice([1, partitions]))
        for _ in range(messages):
            self.topic.now_us += rng.choice([0, 0, MS, 50 * MS])
            if rng.random() < 0.03 and self.known < partitions:
                self._config(rng.randint(self.known + 1, partitions))
            self._anything()
        self._config(partitions)
        for _ in range(3):  # so that the end of every partition is heard of
            self.topic.now_us += 1_000 * MS
            for partition in range(partitions):
                self._send("a", pb.KIND_TICK, partition)

    def _anything(self) -> None:
        rng, partition = self.rng, self.rng.randrange(self.known)
        letter = rng.choice("abc")
        what = rng.random()
        if what < 0.1:
            self._dead(rng.choice([b"{", b"junk", b"", b'{"kind":"reward"}']), partition)
        elif what < 0.2:
            value = b'{"kind":"reward","event_id":"e","reward_id":"r","value":1}'
            self.topic.write(value, partition, self._stamp())
        elif what < 0.3 and self.sent.get((letter, partition)):
            again = self.sent[letter, partition][-rng.randint(1, 3) :]  # as after a crash
            for message in again:
                copy = self.topic.write(message.value, partition, self._stamp())
                self.copies.add((partition, copy.offset))
        else:
            self._send(letter, rng.choice([pb.KIND_TICK, pb.KIND_REWARD]), partition)

    def _stamp(self) -> int:
        """Brokers' clocks differ, so stamps may fall."""
        return self.topic.now_us - self.rng.choice([0, 0, 0, 30 * MS])

    def _number(self, letter: str) -> int:
        self.numbers[letter] = self.numbers.get(letter, 0) + self.rng.randint(1, 3)
        return self.numbers[letter]

    def _node(self, letter: str) -> str:
        """Opened anew every 20 records."""
        return f"{folder(letter)}.{1 + self.numbers[letter] // 20}"

    def _send(self, letter: str, kind: pb.Kind, partition: int) -> None:
        number, stamp = self._number(letter), self._stamp()
        node = self._node(letter)
        message = self.topic.send(number, kind, partition, node=node, time_us=stamp)
        self.sent.setdefault((letter, partition), []).append(message)

    def _config(self, partitions: int) -> None:
        number = self._number("a")
        message = self.topic.config(number, partitions, node=self._node("a"))
        self.sent.setdefault(("a", 0), []).append(message)
        self.known = max(self.known, partitions)

    def _dead(self, value: bytes, partition: int) -> None:
        message = self.topic.write(value, partition, self._stamp())
        self.dead.add((partition, message.offset))

    def order(self) -> list[Place]:
        """By the definition, with everything in sight: which messages are certain, in order, copies left out."""
        times = [0] * len(self.topic.partitions)
        heads = [0] * len(times)
        known, order = 1, []
        while all(heads[n] < len(self.topic.partitions[n]) for n in range(known)):
            nexts = [self.topic.partitions[n][heads[n]] for n in range(known)]
            first = min(nexts, key=lambda m: (max(times[m.partition], m.time_us), m.partition))
            n = first.partition
            times[n] = max(times[n], first.time_us)
            heads[n] += 1
            if (n, first.offset) in self.copies:
                continue
            order.append((n, first.offset))
            record = pb.Record()
            if (n, first.offset) not in self.dead and not first.value.startswith(b"{"):
                record.ParseFromString(first.value)
            if record.header.kind == pb.KIND_CONFIG:
                said = int(pb.Config.FromString(record.payload).json.split(":")[1].rstrip("}"))
                times[known:said] = [times[n]] * (said - known)
                known = max(known, said)
        return order


def merged(topic: Topic, rng: random.Random | None = None) -> tuple[list[Item], Merger]:
    """All that is certain; with `rng` the partitions are read in any turns, and the merger is often made anew."""
    merger, items = Merger(APP), list[Item]()
    while True:
        offsets = merger.offsets
        ready = [
            n
            for n in range(len(offsets))
            if n < len(topic.partitions) and offsets[n] < len(topic.partitions[n])
        ]
        if not ready:
            items.extend(merger.emit())
            if merger.offsets == offsets:
                return items, merger
            continue  # it has learned of more partitions
        n = rng.choice(ready) if rng else ready[0]
        for message in topic.partitions[n][offsets[n] :][: rng.randint(1, 9) if rng else 1]:
            merger.feed(message)
        for item in merger.emit():
            items.append(item)
            if rng and rng.random() < 0.05:
                break  # left in the middle
        if rng and rng.random() < 0.2:
            state = merger.state().SerializeToString()
            merger = Merger(APP, internal_pb2.MergeState.FromString(state))


def records(items: Iterable[Item]) -> list[LogRecord]:
    return [item for item in items if isinstance(item, LogRecord)]


@settings(max_examples=150)
@given(st.integers(0, 10**9), st.sampled_from([1, 2, 4, 8]))
def test_whatever_the_turns_and_the_stops_the_order_is_the_same(seed: int, partitions: int) -> None:
    story = Story(seed, partitions)
    order = story.order()
    expected, merger = merged(story.topic)
    assert len(expected) == len(order)
    assert [m.offset for m in letters(expected)] == [o for n, o in order if (n, o) in story.dead]
    found = records(expected)
    assert [r.sequence for r in found] == list(range(1, len(found) + 1))
    assert [r.partition for r in found] == [n for n, o in order if (n, o) not in story.dead]
    times = [r.log_time_us for r in found]
    assert times == sorted(times), "order time never falls, even where partitions are added"
    for trial in range(3):
        again, other = merged(story.topic, random.Random(seed + trial))
        assert again == expected
        assert other.state() == merger.state()
    assert merger.dead == len(letters(expected))
    assert merger.held + merger.passed == sum(
        map(len, story.topic.partitions[: len(merger.offsets)])
    )


def letters(items: Iterable[Item]) -> list[Message]:
    return [item.message for item in items if isinstance(item, DeadLetter)]


def test_what_is_held_is_counted() -> None:
    topic = Topic()
    topic.config(1, 2)
    merger = Merger(APP)
    merger.feed(topic.partitions[0][0])
    assert len(list(merger.emit())) == 1
    assert merger.offsets == [1, 0]
    sizes = [len(topic.send(number).value) for number in range(2, 5)]
    for message in topic.partitions[0][1:]:
        merger.feed(message)
    assert list(merger.emit()) == []
    assert (merger.held, merger.held_bytes, merger.waiting_for) == (3, sum(sizes), [1])
    merger.feed(topic.send(4, partition=1, time_us=topic.now_us + MS))
    assert len(list(merger.emit())) == 3
    assert (merger.held, merger.waiting_for) == (1, [0])


def test_a_silent_partition_holds_everything_up_until_it_ticks() -> None:
    topic = Topic()
    topic.config(1, 3)
    for number in range(2, 50):
        topic.now_us += 100 * MS
        topic.send(number, pb.KIND_REWARD, number % 2, event_id="e")
    items, merger = merged(topic)
    assert len(items) == 1
    assert merger.waiting_for == [2]
    topic.send(50, partition=2)
    items, merger = merged(topic)
    assert len(items) == 48, (
        "all but the last of each, which may be followed by something of the same time"
    )
    assert 2 not in merger.waiting_for


def test_of_equal_times_the_lower_partition_comes_first() -> None:
    topic = Topic()
    topic.config(1, 2)
    for number in (2, 3):
        topic.send(number, partition=1)
        topic.send(number, partition=0)
    items, _ = merged(topic)
    assert [(r.partition, r.number) for r in records(items)] == [(0, 1), (0, 2), (0, 3)]


def test_numbers_and_stamps_are_the_merge_s_own() -> None:
    topic = Topic()
    payload = pb.Reward(value=1, reward_id="r").SerializeToString()
    node = f"{folder('b')}.7"
    more = {"log_time_us": 5, "lag_us": 1_234, "origin_time_us": 99}
    topic.send(41, pb.KIND_REWARD, node=node, event_id="e", payload=payload, **more)
    (record,) = records(merged(topic)[0])
    assert record == LogRecord(
        1, pb.KIND_REWARD, APP, "e", 99, topic.now_us, node, 0, payload, "", "", 41, 0, 1_234
    )
    assert record.decision_id == f"{node}:41"


# -- what stops it ---------------------------------------------------------------------------------


def test_a_hole_stops_it_and_says_where() -> None:
    topic = Topic()
    topic.send(1)
    topic.send(2)
    topic.send(7, previous_sequence=5)
    topic.send(8)
    merger = Merger(APP)
    for message in topic.partitions[0]:
        merger.feed(message)
    found: list[Item] = []
    with pytest.raises(LogError) as caught:
        found.extend(merger.emit())
    for said in ("partition 0, offset 2", folder("a"), "record 7 after 5", "is 2", "operations.md"):
        assert said in str(caught.value)
    assert merger.state().offsets == [2], "it stands before the hole"
    with pytest.raises(LogError, match="offset 2"):
        list(merger.emit())


def test_a_journal_from_an_old_backup_stops_it() -> None:
    topic = Topic()
    for number in range(1, 6):
        topic.send(number, node=f"{folder('a')}.1")
    topic.send(4, node=f"{folder('a')}.2", previous_sequence=3)
    with pytest.raises(
        LogError, match=r"offset 5: journal aaaaaaaa.* writes record 4 again, after 5: .* backup"
    ):
        merged(topic)


@pytest.mark.parametrize("previous", [0, 3])
def test_also_one_that_was_made_shorter_and_has_caught_up(previous: int) -> None:
    """It was restored, and shipped nothing until its numbers had passed those in the topic: a hole, or a fork."""
    topic = Topic()
    for number in range(1, 6):
        topic.send(number, node=f"{folder('a')}.1")
    topic.send(9, node=f"{folder('a')}.2", previous_sequence=previous)
    with pytest.raises(LogError, match="records are missing"):
        merged(topic)


def test_another_incarnation_goes_on_and_its_predecessor_s_copies_are_dropped() -> None:
    topic = Topic()
    first = [topic.send(number, node=f"{folder('a')}.1") for number in (1, 2)]
    topic.send(3, node=f"{folder('a')}.2")
    for message in first:
        topic.write(message.value)
    topic.send(4, node=f"{folder('a')}.2")
    items, merger = merged(topic)
    assert [r.number for r in records(items)] == [1, 2, 3, 4]
    assert merger.copies == 2


@pytest.mark.parametrize(
    "json", ["{", "[]", '{"partitions": "2"}', '{"partitions": 0}', '{"partitions": 9999}']
)
def test_a_config_that_cannot_be_true_stops_it(json: str) -> None:
    topic = Topic()
    topic.send(1, pb.KIND_CONFIG, payload=pb.Config(json=json).SerializeToString())
    with pytest.raises(LogError, match="partitions"):
        merged(topic)


def test_a_config_of_fewer_partitions_changes_nothing() -> None:
    topic = Topic()
    topic.config(1, 2)
    topic.config(2, 1, time_us=topic.now_us - MS)
    topic.send(3, partition=1)
    items, merger = merged(topic)
    assert len(items) == 2
    assert len(merger.offsets) == 2


# -- the fold over it ------------------------------------------------------------------------------


@pytest.mark.parametrize("partitions", [1, 2, 4])
def test_the_fold_of_several_partitions_learns_what_one_journal_s_fold_learned(
    partitions: int,
) -> None:
    scribe = Scribe(SETTINGS.model_copy(update={"partitions": partitions}))
    scribe.busy(150)
    for _ in range(5):
        scribe.tick()
    topic = Topic().ship(scribe.log, partitions)
    found = records(merged(topic)[0])
    fold = AppFold(APP, lambda sequence: found[sequence - 1], scribe.artefacts.__getitem__)
    for record in found:
        fold.step(record)
    alone = scribe.folded()
    assert fold.joiner is not None
    assert alone.joiner is not None
    assert fold.joiner.counters == alone.joiner.counters
    assert fold.model is not None
    assert alone.model is not None
    assert fold.model.state() == alone.model.state()
