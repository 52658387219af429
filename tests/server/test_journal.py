"""The journal: what was acknowledged is there, once, in order, for good."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.records import LogError, LogRecord
from server.journal.client import (
    Answer,
    BlockingJournal,
    JournalClient,
    JournalFullError,
    JournalMovedError,
    JournalUnavailableError,
)
from server.journal.store import JournalReader, LogTime, Store
from server.journal.wire import FrameError, Unframer, append_frame, frame
from server.journal.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

SECONDS = 30.0  # for an answer; only a failing test waits so long

KINDS = [kind for kind in pb.Kind.values() if kind]
text = st.text(max_size=20)
microseconds = st.integers(-(2**63), 2**63 - 1)
headers = st.builds(
    pb.Header,
    app=text,
    kind=st.sampled_from(KINDS),
    event_id=text,
    origin_time_us=microseconds,
    key_id=text,
    subject_id=text,
)
records = st.builds(pb.Record, header=headers, payload=st.binary(max_size=200))


def record(kind: pb.Kind = pb.KIND_REWARD, event_id: str = "e", payload: bytes = b"") -> pb.Record:
    return pb.Record(header=pb.Header(app="a", kind=kind, event_id=event_id), payload=payload)


def fill(store: Store) -> None:
    """No page more: a disk that is full, until the file is opened anew."""
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")


def read(path: Path) -> list[LogRecord]:
    return reader_of(path, lambda reader: list(reader.records(0)))


def reader_of(path: Path, ask: Callable[[JournalReader], T]) -> T:
    with closing(JournalReader(path)) as reader:
        return ask(reader)


# -- the store -------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(groups=st.lists(st.lists(records, max_size=4), max_size=8))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[pb.Record]]
) -> None:
    """Every record comes back as it was, numbered from 1 without a gap; a Decision only the first time."""
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    with closing(Store(path)) as store:
        places = [store.append([group]) for group in groups]
        node = store.node
    found = read(path)
    assert [r.sequence for r in found] == list(range(1, len(found) + 1))
    assert [r.previous for r in found] == list(range(len(found)))
    assert {r.node for r in found} <= {node}
    assert [r.log_time_us for r in found] == sorted(r.log_time_us for r in found)
    first: dict[tuple[str, str], int] = {}
    at = 0
    for group, stored in zip(groups, places, strict=True):
        for sent, place in zip(group, stored[0], strict=True):
            h = sent.header
            key = (h.app, h.event_id)
            if h.kind == pb.KIND_DECISION and key in first:
                assert place.sequence == first[key]
                assert place.payload == found[place.sequence - 1].payload
                continue
            if h.kind == pb.KIND_DECISION:
                first[key] = at + 1
            got = found[at].to_proto()
            assert (place.sequence, place.payload) == (at + 1, None)
            got.header.ClearField("node")
            got.header.ClearField("log_time_us")
            got.header.ClearField("sequence")
            got.header.ClearField("previous_sequence")
            assert got == sent
            at += 1
    assert at == len(found)


def test_a_decision_is_kept_once_for_each_app_and_event(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "j")) as store:
        one = record(pb.KIND_DECISION, "e", b"one")
        ((first,),) = store.append([[one]])
        other_app = record(pb.KIND_DECISION, "e", b"three")
        other_app.header.app = "b"
        ((again, elsewhere),) = store.append([[record(pb.KIND_DECISION, "e", b"two"), other_app]])
        assert (again.sequence, again.payload) == (first.sequence, b"one")
        assert (elsewhere.sequence, elsewhere.payload) == (2, None)
        # Twice in one transaction, too.
        twin = record(pb.KIND_DECISION, "f", b"four")
        (a,), (b,) = store.append([[twin], [twin]])
        assert (a.payload, b.payload, a.sequence) == (None, b"four", b.sequence)
    assert len(read(tmp_path / "j")) == 3


class Clock:
    """Both clocks of a journal, set by hand (microseconds)."""

    def __init__(self) -> None:
        self.wall = 5_000_000
        self.running = 0

    def log_time(self) -> LogTime:
        return LogTime(lambda: self.wall * 1_000, lambda: self.running * 1_000)

    def step(self, running: int, wall: int) -> None:
        self.running += running
        self.wall += wall


def test_every_opening_is_an_incarnation_of_its_own(tmp_path: Path) -> None:
    clock = Clock()
    nodes = []
    for _ in range(3):
        with closing(Store(tmp_path / "j", log_time=clock.log_time())) as store:
            nodes.append(store.node)
            store.append([[record()]])
    folders, incarnations = zip(*(node.split(".") for node in nodes), strict=True)
    assert len(set(folders)) == 1
    assert incarnations == ("5", "6", "7")
    assert [r.node for r in read(tmp_path / "j")] == nodes
    assert folders[0] == reader_of(tmp_path / "j", JournalReader.folder)


def test_a_journal_restored_from_a_backup_has_none_of_the_incarnations_that_it_had_since(
    tmp_path: Path,
) -> None:
    clock = Clock()
    path, backup = tmp_path / "j", tmp_path / "backup"

    def opened(path: Path) -> str:
        clock.step(
            10_000_000, 10_000_000
        )  # nobody opens a journal more than once a second for long
        with closing(Store(path, log_time=clock.log_time())) as store:
            return store.node

    before = opened(path)
    shutil.copy(path, backup)
    since = {opened(path) for _ in range(5)}
    assert opened(backup) not in {before, *since}


def test_stamps_never_fall_and_never_stand_still(tmp_path: Path) -> None:
    """A wall clock that is set back is not waited for: windows close by the stamps."""
    clock = Clock()
    stamps = []
    for reopen in (False, True):
        with closing(Store(tmp_path / "j", log_time=clock.log_time())) as store:
            for running, wall in ((0, 0), (1_000, 1_000), (1_000, -3_600_000_000), (1_000, 1_000)):
                clock.step(running, wall)
                store.append([[record()]])
        if not reopen:
            clock.step(0, 10)
    stamps = [r.log_time_us for r in read(tmp_path / "j")]
    first = 5_000_000
    # Once opened again the journal goes on from its last record, whatever has passed since.
    assert stamps == [first + 1_000 * n for n in (0, 1, 2, 3, 3, 4, 5, 6)]


def test_a_wall_clock_that_jumps_forward_is_followed(tmp_path: Path) -> None:
    clock = Clock()
    with closing(Store(tmp_path / "j", log_time=clock.log_time())) as store:
        for running, wall in ((0, 0), (10, 500), (10, 10)):
            clock.step(running, wall)
            store.append([[record()]])
    assert [r.log_time_us - 5_000_000 for r in read(tmp_path / "j")] == [0, 500, 510]


@pytest.mark.parametrize("through", [1, 3, 5])
def test_a_sequence_is_never_used_again(tmp_path: Path, through: int) -> None:
    path = tmp_path / "j"
    with closing(Store(path)) as store:
        store.append([[record(pb.KIND_DECISION, f"e{i}", b"x")] for i in range(5)])
        assert store.trim(through) == through
    with closing(Store(path)) as store:
        ((new,),) = store.append([[record()]])
        assert new.sequence == 6
        ((again,),) = store.append([[record(pb.KIND_DECISION, "e0", b"y")]])
        assert (again.sequence, again.payload) == (7, None), "its decision was trimmed"
    with closing(JournalReader(path)) as reader:
        assert reader.bounds() == (through + 1, 7)
        assert [r.sequence for r in reader.records(through)] == list(range(through + 1, 8))


def test_a_gap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with closing(Store(path)) as store:
        store.append([[record() for _ in range(10)]])
        store.trim(3)
    with closing(JournalReader(path)) as reader:
        with pytest.raises(LogError, match="starts at record 4, but record 1 is needed"):
            list(reader.records(0))
        with pytest.raises(LogError, match="record 2 is not in the journal"):
            reader.read(2)
        assert reader.read(4).sequence == 4
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM records WHERE sequence = 7")
        db.commit()
    with (
        closing(JournalReader(path)) as reader,
        pytest.raises(LogError, match="record 7 is missing"),
    ):
        list(reader.records(3))


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Store(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = 99 WHERE name = 'format'")
        db.commit()
    with pytest.raises(LogError, match="has format 99; this rankd reads format 1"):
        Store(path)


def test_where_a_time_begins(tmp_path: Path) -> None:
    clock = Clock()
    clock.wall = 1_000
    with closing(Store(tmp_path / "j", log_time=clock.log_time())) as store:
        for _ in range(20):
            clock.step(10, 10)
            store.append([[record()]])
        store.trim(4)
    with closing(JournalReader(tmp_path / "j")) as reader:
        stamps = {r.sequence: r.log_time_us for r in reader.records(4)}
        for time_us in (0, 1_050, 1_055, 1_190, 9_999):
            at = [n for n, stamp in stamps.items() if stamp >= time_us]
            assert reader.first_at_or_after(time_us) == min(at, default=21)


def test_a_failed_commit_leaves_nothing_behind(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "j")) as store:
        store.append([[record()]])
        fill(store)
        group = [record(pb.KIND_DECISION, f"e{i}", bytes(5_000)) for i in range(20)]
        with pytest.raises(sqlite3.OperationalError, match="full"):
            store.append([group])
        assert store.last == 1
        ((place, *_),) = store.append([group])  # the failure has opened the file anew
        assert (place.sequence, place.payload) == (2, None)
    assert [r.sequence for r in read(tmp_path / "j")] == list(range(1, 22))


# -- copied to Kafka --------------------------------------------------------------------------------


def at(sequence: int) -> internal_pb2.Shipped:
    return internal_pb2.Shipped(sequence=sequence, topics=["t"], last_sequences=[sequence])


def test_the_shipped_position_is_kept_with_the_next_append(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with closing(Store(path, shared=True)) as store:
        store.append([[record() for _ in range(9)]])
        store.ship(at(7))
        store.ship(at(5))  # of a shipper that began again where the file says
        assert store.shipped == at(7)
        assert reader_of(path, JournalReader.shipped) == internal_pb2.Shipped()
        store.append([[record()]])
        assert reader_of(path, JournalReader.shipped) == at(7)
    with closing(Store(path, shared=True)) as store:
        assert store.shipped == at(7)


def test_a_failed_append_keeps_the_position_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with closing(Store(path, shared=True)) as store:
        store.append([[record()]])
        store.ship(at(1))
        fill(store)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            store.append([[record(payload=bytes(99_999))]])
        assert store.shipped == at(1)
        store.append([[record()]])
    assert reader_of(path, JournalReader.shipped) == at(1)


def test_nothing_is_trimmed_that_is_not_shipped(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with closing(Store(path, shared=True)) as store:
        store.append([[record() for _ in range(9)]])
        assert store.trim(5) == 0
        store.ship(at(3))
        assert store.trim(5) == 3
        # What is gone is never asked for again, though nothing was appended since.
        assert reader_of(path, JournalReader.shipped) == at(3)
    with closing(Store(path)) as store:  # shared no more, but it was
        assert store.trim(9) == 0


# -- the writer and its clients --------------------------------------------------------------------


class Writing:
    """A writer that serves in a thread of its own, which SQLite asks for."""

    def __init__(
        self,
        folder: Path,
        prepare: Callable[[Store], object] = lambda _: None,
        shared: bool = False,
    ) -> None:
        self._shared = shared
        self.socket = folder / "socket"
        self._journal = folder / "j"
        self._prepare = prepare
        self._made: Future[Writer] = Future()
        self._go = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with closing(Store(self._journal, self._shared)) as store:
            self._prepare(store)
            writer = Writer(store, self.socket, self._shared)
            self._made.set_result(writer)
            self._go.wait(SECONDS)
            writer.run()

    def listen(self) -> None:
        """From here on clients can connect and send; nobody reads yet."""
        self._thread.start()
        self._made.result(SECONDS)

    def __enter__(self) -> Path:
        if not self._made.done():
            self.listen()
        self._go.set()
        return self.socket

    def __exit__(self, *_: object) -> None:
        self._made.result().stop()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


def test_appends_that_wait_share_a_commit(tmp_path: Path) -> None:
    """What a client has sent before the writer looks is one transaction, and has one stamp.

    The writer accepts the three connections one after the other, so 30 requests take at most three commits.
    """
    writing = Writing(tmp_path)
    writing.listen()
    clients = []
    for client in range(3):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(SECONDS)
        sock.connect(str(writing.socket))
        for number in range(10):
            message = internal_pb2.JournalRequest(id=number, records=[record(event_id=f"{client}")])
            sock.sendall(frame(message.SerializeToString()))
        clients.append(sock)
    sequences = []
    with writing:
        for sock in clients:
            unframer = Unframer()
            replies: list[internal_pb2.JournalReply] = []
            while len(replies) < 10:
                messages = unframer.feed(sock.recv(9999))
                replies += map(internal_pb2.JournalReply.FromString, messages)
            assert [reply.id for reply in replies] == list(range(10)), "answers come in order"
            sequences += [reply.acks[0].sequence for reply in replies]
            sock.close()
    found = [r for r in read(tmp_path / "j") if r.kind == pb.KIND_REWARD]
    assert sorted(sequences) == [r.sequence for r in found]
    assert len({r.log_time_us for r in found}) <= 3


def test_many_callers_at_once(tmp_path: Path) -> None:
    async def run(path: Path) -> list[int]:
        client = JournalClient(path, SECONDS)
        connection = asyncio.create_task(client.run())
        appends = (client.append([record(), record()]) for _ in range(100))
        acks = await asyncio.gather(*appends)
        connection.cancel()
        for first, second in acks:
            assert second.sequence == first.sequence + 1
        return [ack.sequence for pair in acks for ack in pair]

    with Writing(tmp_path) as path:
        sequences = asyncio.run(run(path))
    assert len(set(sequences)) == 200
    found = {r.sequence for r in read(tmp_path / "j") if r.kind == pb.KIND_REWARD}
    assert found == set(sequences)


def test_several_sent_together_have_answers_of_their_own(tmp_path: Path) -> None:
    """One frame, one commit; who has lost interest keeps nobody from an answer."""

    async def run(path: Path) -> None:
        client = JournalClient(path, SECONDS)
        answers = [Answer() for _ in range(3)]
        sizes = (1, 2, 1)
        client.send_all(
            [
                (answer, [(record().header, bytes([i]))] * size)
                for i, (answer, size) in enumerate(zip(answers, sizes, strict=True))
            ]
        )
        assert client.in_flight == 3
        answers[1].drop()
        answers[1].drop()
        assert client.in_flight == 2
        connection = asyncio.create_task(client.run())
        acks = [await client.wait(answer) for answer in (answers[0], answers[2])]
        assert [len(each) for each in acks] == [1, 1]
        assert acks[1][0].sequence == acks[0][0].sequence + 3
        assert client.in_flight == 0
        for answer in answers:
            answer.drop()
        assert client.in_flight == 0
        connection.cancel()

    with Writing(tmp_path) as path:
        asyncio.run(run(path))
    found = [r for r in read(tmp_path / "j") if r.kind == pb.KIND_REWARD]
    assert [r.payload for r in found] == [b"\0", b"\1", b"\1", b"\2"]
    assert len({r.log_time_us for r in found}) == 1


def test_what_nobody_waits_for_any_more_is_not_sent_again(tmp_path: Path) -> None:
    async def run(path: Path) -> None:
        client = JournalClient(path, SECONDS)
        gone, there = Answer(), Answer()
        client.send_all([(gone, [(record(event_id="gone").header, b"")])])
        client.send_all([(there, [(record(event_id="there").header, b"")])])
        gone.drop()
        connection = asyncio.create_task(client.run())
        await client.wait(there)
        connection.cancel()

    with Writing(tmp_path) as path:
        asyncio.run(run(path))
    assert [r.event_id for r in read(tmp_path / "j") if r.kind == pb.KIND_REWARD] == ["there"]


def test_what_fails_before_it_is_sent_tells_who_waits(tmp_path: Path) -> None:
    async def run() -> None:
        client, answer = JournalClient(tmp_path / "nobody", SECONDS), Answer()
        waiting = asyncio.create_task(client.wait(answer))
        await asyncio.sleep(0)
        answer.failed(KeyError("a"))
        with pytest.raises(KeyError):
            await waiting
        answer.drop()
        assert client.in_flight == 0

    asyncio.run(run())


def test_who_began_to_wait_before_anything_was_sent_gives_up_in_time(tmp_path: Path) -> None:
    """Also where the look for those who have waited too long came in between, and found nobody."""

    async def run() -> None:
        client = JournalClient(tmp_path / "nobody", timeout=0.05)
        with pytest.raises(JournalUnavailableError):
            await client.append([record()])  # so the look is on its way
        answer = Answer()
        waiting = asyncio.create_task(client.wait(answer))
        await asyncio.sleep(0)
        while client._watching:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.001)
        client.send_all([(answer, [(record().header, b"")])])
        with pytest.raises(JournalUnavailableError):
            await asyncio.wait_for(waiting, SECONDS)
        answer.drop()

    asyncio.run(run())


def test_a_conditional_append_only_at_the_end_it_expects(tmp_path: Path) -> None:
    with Writing(tmp_path) as path:
        journal = BlockingJournal(path, SECONDS)
        last = journal.append([record()])[0].sequence
        (place,) = journal.append([record()], expected_last=last)
        assert place.sequence == last + 1
        with pytest.raises(JournalMovedError):
            journal.append([record(event_id="moved")], expected_last=last)
    assert "moved" not in {r.event_id for r in read(tmp_path / "j")}


def test_trimming_over_the_socket(tmp_path: Path) -> None:
    with Writing(tmp_path) as path:
        journal = BlockingJournal(path, SECONDS)
        last = journal.append([record() for _ in range(9)])[-1].sequence
        journal.trim(last - 2)
        with closing(JournalReader(tmp_path / "j")) as reader:
            assert reader.bounds()[0] == last - 1


def test_ticks_come_whether_or_not_the_log_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app's clock advances by its own records and by ticks: a busy neighbour must not stop it."""
    monkeypatch.setattr("server.journal.writer.TICK_SECONDS", 0.02)
    with Writing(tmp_path) as path:
        journal = BlockingJournal(path, SECONDS)
        deadline = time.monotonic() + SECONDS
        ticks = 0
        while ticks < 5 and time.monotonic() < deadline:
            journal.append([record()])
            ticks = sum(r.kind == pb.KIND_TICK for r in read(tmp_path / "j"))
    assert ticks >= 5


def test_no_writer(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailableError):
        BlockingJournal(tmp_path / "nobody", SECONDS).append([record()])

    async def run() -> None:
        client = JournalClient(tmp_path / "nobody", timeout=0.05)
        connection = asyncio.create_task(client.run())
        with pytest.raises(JournalUnavailableError):
            await client.append([record()])
        await asyncio.sleep(0)
        assert client.in_flight == 0
        connection.cancel()

    asyncio.run(run())


def test_a_call_outlives_the_writer_that_it_was_sent_to(tmp_path: Path) -> None:
    """The writer goes away without an answer; the one after it gets the same records again."""

    async def run() -> None:
        path = tmp_path / "socket"
        arrived = asyncio.Event()

        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            arrived.set()
            writer.close()

        mute = await asyncio.start_unix_server(swallow, path)
        client = JournalClient(path, SECONDS)
        connection = asyncio.create_task(client.run())
        call = asyncio.create_task(client.append([record(event_id="patient")]))
        await arrived.wait()
        mute.close()
        path.unlink(missing_ok=True)
        with Writing(tmp_path):
            (ack,) = await call
        connection.cancel()
        assert ack.sequence == 1

    asyncio.run(run())
    assert [r.event_id for r in read(tmp_path / "j") if r.kind == pb.KIND_REWARD] == ["patient"]


def test_no_room(tmp_path: Path) -> None:
    """A refused append leaves nothing behind, and the next one may find room again."""
    with Writing(tmp_path, fill) as path:
        journal = BlockingJournal(path, SECONDS)
        with pytest.raises(JournalFullError):
            journal.append([record(event_id="refused", payload=bytes(99_999))])
        journal.append([record(event_id="taken", payload=bytes(99_999))])
    found = [r.event_id for r in read(tmp_path / "j") if r.kind == pb.KIND_REWARD]
    assert found == ["taken"]


def test_an_orderly_end_is_the_last_record_where_others_wait(tmp_path: Path) -> None:
    for shared in (False, True):
        folder = tmp_path / str(shared)
        folder.mkdir()
        with Writing(folder, shared=shared) as path:
            BlockingJournal(path, SECONDS).append([record()])
        found = read(folder / "j")
        fences = [r for r in found if r.kind == pb.KIND_FENCE]
        assert fences == ([found[-1]] if shared else [])
        if shared:
            assert found[-1].message(pb.Fence).folder == found[-1].folder
            assert found[-1].app == "", "it counts for every app"


def test_answers_that_wait_for_kafka(tmp_path: Path) -> None:
    """Each is given once its own records are there, whoever has gone meanwhile; errors at once."""

    async def run(path: Path) -> None:
        patient = JournalClient(path, SECONDS, wait_shipped=True)
        leaving = JournalClient(path, SECONDS, wait_shipped=True)
        plain = JournalClient(path, SECONDS)
        clients = {c: asyncio.create_task(c.run()) for c in (patient, leaving, plain)}
        decision = record(pb.KIND_DECISION, "e", b"d")
        (stored,) = await plain.append([decision])

        def shipped(client: JournalClient, *records: pb.Record) -> asyncio.Task[list[int]]:
            async def sequences() -> list[int]:
                return [ack.sequence for ack in await client.append(records)]

            return asyncio.create_task(sequences())

        async def appended(count: int) -> int:
            """Waits until so many rewards are in the journal, of which nobody is told."""
            async with asyncio.timeout(SECONDS):
                while True:
                    found = [r.sequence for r in read(tmp_path / "j") if r.kind == pb.KIND_REWARD]
                    if len(found) == count:
                        return found[-1]
                    await asyncio.sleep(0.001)

        gone = shipped(leaving, record(event_id="gone"))
        await appended(1)
        clients[leaving].cancel()
        gone.cancel()
        first = shipped(patient, record(event_id="first"))
        middle = await appended(2)
        second = shipped(patient, record(event_id="second"), record(event_id="third"))
        again = shipped(patient, decision)
        last = await appended(4)
        await plain.report(at(middle - 1))
        assert await again == [stored.sequence]
        assert not first.done()
        await plain.report(at(middle))
        assert await first == [middle]
        assert not second.done()
        await plain.report(at(last))
        assert await second == [last - 1, last]
        assert await shipped(patient, decision) == [stored.sequence]  # at once
        assert patient.in_flight == 0
        for connection in clients.values():
            connection.cancel()
        await asyncio.gather(*clients.values(), return_exceptions=True)

    with Writing(tmp_path, shared=True) as path:
        asyncio.run(run(path))


def test_an_error_is_not_kept_waiting_for_kafka(tmp_path: Path) -> None:
    async def run(path: Path) -> None:
        client = JournalClient(path, SECONDS, wait_shipped=True)
        connection = asyncio.create_task(client.run())
        with pytest.raises(JournalFullError):
            await client.append([record(payload=bytes(99_999))])
        connection.cancel()

    with Writing(tmp_path, fill, shared=True) as path:
        asyncio.run(run(path))


def test_what_callers_have_given_up_waiting_for_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Kafka is away they try again and again; the writer's memory must not grow with that."""
    monkeypatch.setattr("server.journal.writer._MOST_WAITING", 100)
    most = 0
    send = Writer._wait

    def watched(self: Writer, *of: Any) -> None:
        nonlocal most
        send(self, *of)
        most = max(most, len(self._waiting))

    monkeypatch.setattr(Writer, "_wait", watched)

    async def run(path: Path) -> None:
        client = JournalClient(path, SECONDS, wait_shipped=True)
        connection = asyncio.create_task(client.run())
        calls = [client.send([record(event_id=str(i))]) for i in range(450)]
        plain = JournalClient(path, SECONDS)
        other = asyncio.create_task(plain.run())
        (newest,) = await plain.append([record(event_id="newest")])
        async with asyncio.timeout(SECONDS):
            while len(read(tmp_path / "j")) < 451:  # noqa: ASYNC110  # another thread writes them
                await asyncio.sleep(0.001)
        await plain.report(at(newest.sequence + 1_000))
        await client.wait(calls[-1])
        assert 50 <= sum(call.done for call in calls) <= 100, "the newest are answered"
        for call in calls:
            call.drop()
        connection.cancel()
        other.cancel()

    with Writing(tmp_path, shared=True) as path:
        asyncio.run(run(path))
    assert 50 < most <= 100


# -- frames ----------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(1, 20))
def test_frames_survive_any_cut(messages: list[bytes], size: int) -> None:
    stream = b"".join(map(frame, messages))
    unframer = Unframer()
    found: list[bytes] = []
    for at in range(0, len(stream), size):
        found += unframer.feed(stream[at : at + size])
    assert found == messages


@given(st.lists(records, max_size=4), st.integers(1, 2**40), st.booleans())
def test_a_frame_is_the_one_that_protobuf_makes(
    appended: list[pb.Record], number: int, shipped: bool
) -> None:
    request = internal_pb2.JournalRequest(id=number, wait_shipped=shipped)
    made = append_frame(request, [(each.header, each.payload) for each in appended])
    (message,) = Unframer().feed(made)
    request.records.extend(appended)
    assert internal_pb2.JournalRequest.FromString(message) == request


def test_a_frame_too_long_is_noise() -> None:
    with pytest.raises(FrameError):
        list(Unframer().feed(b"\xff\xff\xff\xff"))


def test_noise_on_the_socket_harms_nobody_else(tmp_path: Path) -> None:
    with Writing(tmp_path) as path:
        for noise in (b"\xff\xff\xff\xff", frame(b"\xff\xff")):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(SECONDS)
                sock.connect(str(path))
                sock.sendall(noise)
                assert sock.recv(1) == b"", "the writer hangs up"
        assert BlockingJournal(path, SECONDS).append([record()])[0].sequence >= 1
