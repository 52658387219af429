"""The shipper: everything of the journal gets to Kafka, in order and without a hole, whatever breaks in between."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.config import Config
from server.fold.records import LogError
from server.journal.client import BlockingJournal, JournalClient
from server.journal.store import JournalReader, LogTime, Store
from server.kafka import trimming
from server.kafka.rounds import Position, compose, partition_of, places
from server.kafka.shipper import run
from server.process import EX_CONFIG
from tests.kafka.follow import Cluster
from tests.kafka.ship import Node, complete, due, journal_of, read, record, sent, ship, tick
from tests.server.harness import PATIENCE, eventually, free_port
from tests.services.kafka import Kafka
from tests.services.proxy import Proxy
from tests.services.running_kafka import RunningKafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from server.files import DataFolder
    from server.kafka.sender import Place

EVERY_KIND = [kind for kind in pb.Kind.values() if kind]


@pytest.fixture
def cluster(kafka: RunningKafka) -> Cluster:
    return Cluster(kafka)


def drained(config: Config) -> Config:
    """Waits a second for what is left when it is told to stop."""
    server = config.server.model_copy(update={"drain": timedelta(seconds=1)})
    return config.model_copy(update={"server": server})


def mixture(count: int, seed: int = 1, apps: tuple[str, ...] = ("shop",)) -> list[pb.Record]:
    """Records of every kind; a third of them belong to events, of which there are some dozens."""
    rng = random.Random(seed)
    kinds = [*EVERY_KIND, pb.KIND_REWARD, pb.KIND_REWARD, pb.KIND_ACTIVATION]
    made = []
    for number in range(count):
        kind = rng.choice(kinds)
        if kind == pb.KIND_TICK:
            made.append(tick())
            continue
        event_id = f"e{number if kind == pb.KIND_DECISION else rng.randrange(50)}"
        app = rng.choice(apps)
        payload = rng.randbytes(rng.randrange(300))
        made.append(record(kind, event_id if kind < pb.KIND_TICK else "", app, payload))
    return made


# -- rounds ----------------------------------------------------------------------------------------


def test_a_record_goes_where_kafka_s_own_partitioner_sends_its_event() -> None:
    """A producer that keys by event_id meets it there. Values are Java's, from Kafka's own tests (UtilsTest)."""
    expected = {
        "21": -973932308,
        "foobar": -790332482,
        "a-little-bit-long-string": -985981536,
        "a-little-bit-longer-string": -1486304829,
        "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        "abc": 479470107,
    }
    for text, hashed in expected.items():
        assert partition_of(text, 7) == (hashed & 0x7FFFFFFF) % 7
        assert partition_of(text, 1) == 0


def rounds(folder: DataFolder, most_bytes: int, partitions: int = 2) -> Iterator[list[int]]:
    """Sequences of each round."""

    def route(each: object) -> list[Place]:
        return places(each, lambda app: f"t.{app}", ["shop"], partitions)  # type: ignore[arg-type]

    position = Position(internal_pb2.Shipped())
    with closing(JournalReader(folder.journal)) as reader:
        while True:
            chosen = compose(reader.records(position.sequence), position, route, most_bytes)
            if chosen is None:
                return
            before, position.sequence = position.sequence, chosen.through
            yield list(range(before + 1, chosen.through + 1))


def test_rounds_are_bounded_and_what_is_larger_has_its_own(tmp_path: Path) -> None:
    sizes = [100, 100, 90_000, 100, 30_000, 30_000, 60_000]
    group = [record(event_id=f"e{i}", payload=bytes(size)) for i, size in enumerate(sizes)]
    folder = journal_of(tmp_path / "d", group)
    assert list(rounds(folder, 80_000)) == [[1, 2], [3], [4, 5, 6], [7]]
    many = journal_of(tmp_path / "many", [record(event_id=f"e{i}") for i in range(1_200)])
    assert [len(each) for each in rounds(many, 4 << 20)] == [500, 500, 200]


def test_a_position_says_the_same_after_it_was_stored() -> None:
    position = Position(internal_pb2.Shipped())
    position.sequence = 90
    position.sequences = {("t.a", 0): 90, ("t.a", 2): 70, ("t.b.c", 1): 80}
    position.offsets = {("t.a", 0): 900, ("t.a", 2): 0, ("t.b.c", 1): 5}
    again = Position(position.message())
    assert (again.sequence, again.sequences, again.offsets) == (
        position.sequence,
        position.sequences,
        position.offsets,
    )


# -- shipping --------------------------------------------------------------------------------------


def test_every_kind_goes_where_it_belongs_unchanged_and_in_order(
    cluster: Cluster, tmp_path: Path
) -> None:
    apps = ("shop", "bar")
    records = mixture(2_000, apps=apps)
    assert {each.header.kind for each in records} == set(EVERY_KIND)
    folder = journal_of(tmp_path / "d", *(records[i : i + 10] for i in range(0, 2_000, 10)))
    ship(cluster.config(*apps, partitions=3), folder)
    complete(cluster, folder, list(apps), 3)


def test_ticks_keep_every_partition_of_every_app_moving(cluster: Cluster, tmp_path: Path) -> None:
    folder = journal_of(tmp_path / "d", [tick()], [record()], [tick()])
    ship(cluster.config("shop", "bar", partitions=2), folder)
    for app in ("shop", "bar"):
        for chain in sent(cluster, folder, app).values():
            ticks = [e.header.sequence for e in chain if e.header.kind == pb.KIND_TICK]
            assert ticks == [1, 3]


def test_records_of_an_app_that_is_no_longer_configured_are_shipped_too(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = journal_of(tmp_path / "d", [tick(), record(app="gone"), record(app="shop"), tick()])
    ship(cluster.config("shop"), folder)
    complete_chain = sent(cluster, folder, "gone")["gone", 0]
    assert [each.header.sequence for each in complete_chain] == [2]
    assert len(sent(cluster, folder, "shop")["shop", 0]) == 3


def test_records_of_several_megabytes_keep_their_place(cluster: Cluster, tmp_path: Path) -> None:
    sizes = [10, 3 << 20, 3 << 20, 10, 7 << 20, 10, 4 << 20]
    group = [record(event_id=f"e{i}", payload=bytes(size)) for i, size in enumerate(sizes)]
    folder = journal_of(tmp_path / "d", group)
    ship(cluster.config(partitions=2), folder)
    complete(cluster, folder, ["shop"], 2)


def test_a_record_too_large_for_kafka_is_not_passed_over(cluster: Cluster, tmp_path: Path) -> None:
    """Nothing after it is sent, until the setting is raised."""
    group = [record(payload=b"small"), record(payload=bytes(6 << 20)), record(payload=b"small")]
    folder = journal_of(tmp_path / "d", group)
    with Node(folder.root, drained(cluster.config(max_record_bytes=5 << 20))) as node:
        node.start("shipper")
        eventually(
            "the reason in the log", lambda: "raise it, and max.message.bytes" in node.tail()
        )
        assert node.stop("shipper") == 0
        assert node.standing()["sequence"] == 1
    assert len(sent(cluster, folder, "shop")["shop", 0]) == 1


def test_a_record_says_how_long_it_has_waited(cluster: Cluster, tmp_path: Path) -> None:
    """By the journal's clock, which may be ahead of the wall clock; a wait that is over is never made longer."""
    folder = journal_of(tmp_path / "d")
    hour = 3_600 * 1_000_000

    def append(shift_us: int) -> None:
        log_time = LogTime(wall_ns=lambda: time.time_ns() + shift_us * 1_000)
        with closing(Store(folder.journal, shared=True, log_time=log_time)) as store:
            store.append([[record()]])

    before = time.time_ns() // 1_000
    append(-2 * hour)
    append(-hour)
    append(0)
    append(hour)  # from here on the journal's clock is an hour ahead
    append(0)
    ship(cluster.config(), folder)
    after = time.time_ns() // 1_000
    lags = [each.header.lag_us for each in sent(cluster, folder, "shop")["shop", 0]]
    took = after - before
    for lag, expected in zip(lags, [3 * hour, 2 * hour, hour, 0, 0], strict=True):
        assert expected - took <= lag <= expected + took


# -- the position ----------------------------------------------------------------------------------


def test_the_position_survives_and_nothing_is_sent_twice_without_need(
    cluster: Cluster, tmp_path: Path
) -> None:
    with Node(tmp_path / "d", cluster.config(partitions=2)) as node:
        node.start("writer", "shipper")
        node.wait_shipped(node.append(*mixture(300)))
        reader = JournalReader(node.folder.journal)
        eventually("the position in the journal", lambda: reader.shipped().sequence >= 300)
        assert node.stop("shipper") == 0
        before = reader.shipped()
        reader.close()
        node.start("shipper")
        node.wait_shipped(node.append(*mixture(300, seed=2)))
        assert node.stop("writer") == 0
        assert node.stop("shipper") == 0
        complete(cluster, node.folder, ["shop"], 2)
        firsts = []
        for each in cluster.read(cluster.topic()):
            header = pb.Record.FromString(each.value).header
            if header.sequence <= before.sequence:
                firsts.append((each.partition, header.sequence))
        assert len(firsts) == len(set(firsts)), "sent twice although the position was kept"


def test_an_orderly_end_is_the_last_thing_that_others_hear(
    cluster: Cluster, tmp_path: Path
) -> None:
    with Node(tmp_path / "d", cluster.config("shop", "bar", partitions=2)) as node:
        node.start("writer", "shipper")
        node.append(*mixture(100))
        assert node.stop("writer") == 0
        assert node.stop("shipper") == 0
        complete(cluster, node.folder, ["shop", "bar"], 2)
        last = read(node.folder)[-1]
        assert (last.kind, last.app) == (pb.KIND_FENCE, "")
        assert last.message(pb.Fence).folder == last.folder
        for app in ("shop", "bar"):
            chains = sent(cluster, node.folder, app)
            assert [chain[-1].header.kind for chain in chains.values()] == [pb.KIND_FENCE] * 2


def test_a_call_that_waits_for_kafka_is_answered_when_its_record_is_there(
    cluster: Cluster, tmp_path: Path
) -> None:
    with Node(tmp_path / "d", cluster.config()) as node:
        node.start("writer")

        async def call() -> int:
            patient = JournalClient(node.folder.socket, PATIENCE, wait_shipped=True)
            hasty = JournalClient(node.folder.socket, PATIENCE)
            connections = [asyncio.create_task(client.run()) for client in (patient, hasty)]
            decision = record(pb.KIND_DECISION, "e1", payload=b"one")
            waits = asyncio.create_task(patient.append([decision]))
            again = asyncio.create_task(patient.append([decision]))  # stored before: waits as well
            (there,) = await hasty.append([decision])
            assert not waits.done()
            assert not again.done()
            await asyncio.to_thread(node.start, "shipper")
            acks = [(await waits)[0], (await again)[0]]
            assert {ack.sequence for ack in acks} == {there.sequence}
            assert [ack.HasField("stored") for ack in acks] == [False, True]
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
            return there.sequence

        sequence = asyncio.run(call())
        chain = sent(cluster, node.folder, "shop")["shop", 0]
        assert sequence in [each.header.sequence for each in chain]


# -- journals and topics that do not belong together -----------------------------------------------


def restored(cluster: Cluster, tmp_path: Path, lost: int, since: int) -> DataFolder:
    """A journal that was shipped, and then replaced by a backup.

    Args:
        lost: records that were shipped after the backup was made.
        since: records that the restored journal has taken before its shipper starts.
    """
    config = cluster.config(partitions=2)
    backup = tmp_path / "backup"
    with Node(tmp_path / "d", config) as node:
        node.start("writer", "shipper")
        node.wait_shipped(node.append(*mixture(100)))
        with closing(JournalReader(node.folder.journal)) as reader:
            eventually("the position in the journal", lambda: reader.shipped().sequence >= 100)
        node.kill("writer")
        node.stop("shipper")
        shutil.copytree(node.folder.root, backup, ignore=shutil.ignore_patterns("run"))
        node.start("writer", "shipper")
        node.wait_shipped(node.append(*(tick() for _ in range(lost))))
        node.kill("writer")
        node.stop("shipper")
        folder = node.folder
    shutil.rmtree(folder.root)
    shutil.copytree(backup, folder.root)
    with closing(Store(folder.journal, shared=True)) as store:
        store.append([[tick() for _ in range(since)]])
    return folder


@pytest.mark.parametrize(("since", "how"), [(0, "it ends before that"), (90, "another one in its")])
def test_a_journal_restored_from_an_old_backup_is_refused(
    cluster: Cluster, tmp_path: Path, since: int, how: str
) -> None:
    folder = restored(cluster, tmp_path, 50, since)
    with pytest.raises(LogError, match=f"restored from an old backup.*{how}"):
        ship(cluster.config(partitions=2), folder)


def test_a_refused_node_says_so_by_its_exit_code(cluster: Cluster, tmp_path: Path) -> None:
    folder = restored(cluster, tmp_path, 50, 1)
    with Node(folder.root, cluster.config(partitions=2)) as node:
        node.start("writer", "shipper")
        assert node.ended("shipper") == EX_CONFIG
        assert "Empty the data folder" in node.tail()


def test_a_crash_is_not_taken_for_a_restored_backup(cluster: Cluster, tmp_path: Path) -> None:
    """Records were sent, and the position that says so was lost."""
    config = cluster.config(partitions=2)
    with Node(tmp_path / "d", config) as node:
        node.start("writer", "shipper")
        node.wait_shipped(node.append(*mixture(100)))
        with closing(JournalReader(node.folder.journal)) as reader:
            eventually("the position in the journal", lambda: reader.shipped().sequence >= 100)
        node.kill("shipper")
        node.kill("writer")
        with closing(Store(node.folder.journal, shared=True)) as store:
            store.append([[tick() for _ in range(30)]])
        ship(config, node.folder)  # nobody keeps its position
        ship(config, node.folder)
        complete(cluster, node.folder, ["shop"], 2)


def delete(cluster: Cluster, topic: str) -> None:
    async def work() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=cluster.kafka.bootstrap)
        await admin.start()
        try:
            await admin.delete_topics([topic])
        finally:
            await admin.close()

    asyncio.run(work())


@pytest.mark.parametrize("running", [False, True])
def test_a_topic_that_was_deleted_and_made_again_is_refused(
    cluster: Cluster, tmp_path: Path, running: bool
) -> None:
    with Node(tmp_path / "d", cluster.config()) as node:
        node.start("writer", "shipper")
        node.wait_shipped(node.append(*mixture(100)))
        with closing(JournalReader(node.folder.journal)) as reader:
            eventually("the position in the journal", lambda: reader.shipped().sequence >= 100)
        if not running:
            node.stop("shipper")
        delete(cluster, cluster.topic())
        if not running:
            node.start("shipper")
        assert node.ended("shipper") == EX_CONFIG
        assert "deleted and made again" in node.tail()


# -- Kafka away ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("can_start_kafka")
def test_a_journal_waits_for_a_kafka_that_is_not_there_yet(tmp_path: Path) -> None:
    kafka = Kafka(tmp_path / "kafka")
    cluster = Cluster(kafka)
    config = cluster.config(partitions=2)
    with Node(tmp_path / "d", config) as node, contextlib.ExitStack() as end:
        end.callback(kafka.kill)
        node.start("writer", "shipper")
        last = node.append(*mixture(100))
        lagging = eventually(
            "a lag to be reported",
            lambda: node.standing() if node.standing().get("lag_records", 0) >= 100 else None,
        )
        assert lagging["kafka"] is False
        assert lagging["sequence"] == 0
        eventually("the trouble in the log", lambda: "cannot send to Kafka" in node.tail())
        kafka.start()
        node.wait_shipped(last)
        assert "Kafka takes records again" in node.tail()
        eventually("Kafka in the status", lambda: node.standing()["kafka"])
        node.stop("writer")
        assert node.stop("shipper") == 0
        complete(cluster, node.folder, ["shop"], 2)


def test_stopping_is_bounded_though_aiokafka_swallows_a_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its client does where its own background task is being ended."""
    attempts = 0

    async def swallowing(*_: object, **__: object) -> None:
        nonlocal attempts
        attempts += 1
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3_600)
        raise OSError("not now")

    monkeypatch.setattr("server.kafka.topics.ensure", swallowing)
    folder = journal_of(tmp_path / "d", [record()])
    nobody = Cluster(RunningKafka(f"127.0.0.1:{free_port()}"))
    config = drained(nobody.config())

    async def stopping() -> None:
        async with asyncio.timeout(PATIENCE):
            await asyncio.create_task(shipping())

    async def shipping() -> None:
        stop = asyncio.Event()
        stop.set()
        await run(config, folder, stop)

    asyncio.run(stopping())
    assert attempts > 1


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.usefixtures("can_start_kafka")
def test_stopping_is_bounded_though_kafka_is_away(tmp_path: Path, paused: bool) -> None:
    with Kafka(tmp_path / "kafka") as kafka:
        config = drained(Cluster(kafka).config(timeout="30s"))
        with Node(tmp_path / "d", config) as node:
            node.start("writer", "shipper")
            node.wait_shipped(node.append(*mixture(10)))
            if paused:
                kafka.pause()
            else:
                kafka.kill()
            last = node.append(*mixture(10, seed=2))
            eventually("the shipper to try", lambda: not node.standing()["kafka"])
            started = time.monotonic()
            assert node.stop("shipper") == 0
            assert time.monotonic() - started < 20  # less than any wait for Kafka
            assert node.standing()["sequence"] < last
            if paused:
                kafka.resume()


@pytest.mark.usefixtures("can_start_kafka")
def test_where_kafka_is_slow_attempts_get_longer_and_records_say_how_late_they_may_be(
    tmp_path: Path,
) -> None:
    """Slower than the first attempt has patience for: it still arrives, and the fold's clock is not misled."""
    port = free_port()
    with (
        Kafka(tmp_path / "kafka", proxied=f"127.0.0.1:{port}") as kafka,
        Proxy("127.0.0.1", kafka.proxied_listen_port, port) as proxy,
    ):
        cluster = Cluster(kafka, bootstrap=f"127.0.0.1:{port}")
        with Node(tmp_path / "d", cluster.config(timeout="10s")) as node:
            node.start("writer", "shipper")
            node.wait_shipped(node.append(*mixture(10)))
            round_trip = 1.4
            proxy.delay(round_trip / 2)
            node.wait_shipped(node.append(*mixture(10, seed=2)))
            slow = node.append(*mixture(10, seed=3))
            node.wait_shipped(slow)
            proxy.heal()
            assert node.stop("writer") == 0
            assert node.stop("shipper") == 0
            chain = sent(cluster, node.folder, "shop")["shop", 0]
            lag_us = {each.header.sequence: each.header.lag_us for each in chain}
            # An attempt has twice the time that the one before took; the first second of it is always allowed for.
            assert lag_us[slow] >= 1e6 * (2 * round_trip - 1)
            complete(cluster, node.folder, ["shop"], 1)


@pytest.mark.usefixtures("can_start_kafka")
def test_nothing_is_missing_or_out_of_order_whatever_breaks(tmp_path: Path) -> None:
    """The shipper and the writer killed, the broker killed and paused, connections cut, slowed down and reset."""
    rng = random.Random(20)
    port = free_port()
    with (
        Kafka(tmp_path / "kafka", proxied=f"127.0.0.1:{port}") as kafka,
        Proxy("127.0.0.1", kafka.proxied_listen_port, port) as proxy,
    ):
        cluster = Cluster(kafka, bootstrap=f"127.0.0.1:{port}")
        with Node(tmp_path / "d", cluster.config(partitions=3, timeout="1s")) as node:
            node.start("writer", "shipper")

            def again(role: str) -> None:
                node.kill(role)
                node.start(role)

            def broken(begin: Callable[[], object], end: Callable[[], object]) -> None:
                begin()
                append()
                if rng.random() < 0.7:
                    eventually("the shipper to notice", lambda: not node.standing()["kafka"])
                append()
                end()

            def append() -> None:
                node.append(*mixture(rng.randrange(1, 900), seed=rng.randrange(10**9)))

            faults: list[Callable[[], object]] = [
                partial(again, "shipper"),
                partial(again, "shipper"),
                partial(again, "writer"),
                partial(broken, kafka.kill, kafka.start),
                partial(broken, kafka.pause, kafka.resume),
                partial(broken, proxy.cut, proxy.heal),
                partial(broken, proxy.refuse, proxy.heal),
                partial(broken, partial(proxy.delay, 0.6), proxy.heal),
                proxy.reset,
                proxy.reset,
            ]
            rng.shuffle(faults)
            for fault in faults:
                append()
                at = node.standing().get("sequence", 0)
                if rng.random() < 0.5:  # or the faults come on top of each other
                    node.wait_shipped(at + 1)
                fault()
            assert node.stop("writer") == 0
            assert node.stop("shipper") == 0
            last = read(node.folder)[-1].sequence
            if node.standing()["sequence"] < last:
                ship(cluster.config(partitions=3), node.folder)
            complete(cluster, node.folder, ["shop"], 3)


# -- retention -------------------------------------------------------------------------------------


def test_the_journal_is_trimmed_by_age_and_size_but_never_what_is_not_shipped(
    tmp_path: Path,
) -> None:
    second = 1_000_000
    stamps = iter(range(second, 10**12, second))
    log_time = LogTime(wall_ns=lambda: next(stamps) * 1_000, monotonic_ns=lambda: 0)
    path = tmp_path / "j"
    with (
        closing(Store(path, shared=True, log_time=log_time)) as store,
        closing(JournalReader(path)) as reader,
    ):
        for _ in range(100):
            store.append([[record(payload=bytes(30_000))]])
        by_age = Config(log={"max_age": "20s"}).log
        by_size = Config(log={"max_age": "1000s", "max_bytes": 2**20}).log
        neither = Config(log={"max_age": "1000s"}).log
        assert trimming.trim_to(reader, 100, by_age) == 79
        assert trimming.trim_to(reader, 50, by_age) == 50
        assert trimming.trim_to(reader, 0, by_age) is None
        assert trimming.trim_to(reader, 100, neither) is None
        by_bytes = trimming.trim_to(reader, 100, by_size)
        assert by_bytes is not None
        store.ship(internal_pb2.Shipped(sequence=100))
        store.trim(by_bytes)
        assert 0.9 * 2**20 < reader.size_bytes() < 1.1 * 2**20


def test_trimming_goes_in_steps_over_the_socket(cluster: Cluster, tmp_path: Path) -> None:
    with Node(tmp_path / "d", cluster.config()) as node:
        node.start("writer", "shipper")
        for _ in range(5):
            last = node.append(*(record() for _ in range(1_000)))
        node.wait_shipped(last)

        async def trim() -> None:
            journal = JournalClient(node.folder.socket, PATIENCE)
            connection = asyncio.create_task(journal.run())
            await trimming.trim(journal, 1, 4_500)
            connection.cancel()
            await asyncio.gather(connection, return_exceptions=True)

        asyncio.run(trim())
        with closing(JournalReader(node.folder.journal)) as reader:
            assert reader.bounds()[0] == 4_501
        BlockingJournal(node.folder.socket, PATIENCE).trim(10**6)  # no further than what is shipped
        node.wait_shipped(node.append(record()))


def test_what_was_trimmed_before_a_journal_was_shared_is_not_asked_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "d"
    path.mkdir()
    with closing(Store(path / "journal.sqlite")) as store:
        store.append([mixture(100)])
        store.trim(40)
    folder = journal_of(path)
    ship(cluster.config(), folder)
    complete(cluster, folder, ["shop"], 1)
    assert min(due(read(folder), ["shop"], 1)["shop", 0]) == 41
