"""The follower against a real Kafka: whatever happens to either, the mirror is the topic, merged."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.records_to_delete import RecordsToDelete

from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.files import DataFolder
from server.fold.fold import AppFold
from server.kafka import follower as follower_module
from server.kafka import mirror as mirror_module
from server.kafka.consumer import TopicReader
from server.kafka.follower import Following
from server.kafka.mirror import KEEP_EVERY, MirrorReader
from server.learning.checkpoints import Checkpoints
from tests.kafka.follow import Cluster, Follower, filled, mirrored, start_process, status
from tests.server.harness import eventually, free_port
from tests.server.scribe import SETTINGS, Scribe
from tests.server.topics import APP, Topic
from tests.services.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.fold.records import LogRecord
    from tests.services.kafka import Kafka
    from tests.services.running_kafka import RunningKafka


def a_log(partitions: int = 1, events: int = 150) -> tuple[Scribe, Topic]:
    scribe = Scribe(SETTINGS.model_copy(update={"partitions": partitions}))
    scribe.busy(events)
    for _ in range(3):
        scribe.tick()
    return scribe, Topic().ship(scribe.log, partitions)


def a_chain(records: int, partitions: int = 1, size: int = 1_000) -> Topic:
    """One journal's records, by turns to each partition; each has a tick at its end."""
    topic = Topic()
    topic.config(1, partitions)
    return goes_on(topic, records, partitions, size)


def goes_on(topic: Topic, records: int, partitions: int = 1, size: int = 1_000) -> Topic:
    """So many more."""
    first = max(topic.lasts.values()) + 1
    for number in range(first, first + records):
        payload = pb.Reward(value=1, reward_id="r" * size).SerializeToString()
        topic.now_us += 1_000
        topic.send(number, pb.KIND_REWARD, number % partitions, event_id="e", payload=payload)
    for partition in range(partitions):
        topic.send(first + records, partition=partition)
    return topic


def admin(kafka: RunningKafka, work: Callable[[AIOKafkaAdminClient], Awaitable[object]]) -> None:
    async def do() -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await client.start()
        try:
            await work(client)
        finally:
            await client.close()

    asyncio.run(do())


def delete_before(cluster: Cluster, offset: int, app: str = APP) -> None:
    """As retention does."""
    records = {TopicPartition(cluster.topic(app), 0): RecordsToDelete(before_offset=offset)}
    admin(cluster.kafka, lambda client: client.delete_records(records))


def folded(scribe: Scribe, records: list[LogRecord]) -> tuple[bytes, dict[str, int]]:
    fold = AppFold(APP, lambda sequence: records[sequence - 1], scribe.artefacts.__getitem__)
    for record in records:
        fold.step(record)
    assert fold.model is not None
    assert fold.joiner is not None
    return fold.model.state(), fold.joiner.counters


# -- all is well -----------------------------------------------------------------------------------


@pytest.mark.parametrize("partitions", [1, 4])
def test_the_mirror_is_the_topic_merged_and_folds_to_the_same(
    kafka: RunningKafka, tmp_path: Path, partitions: int
) -> None:
    scribe, topic = a_log(partitions)
    cluster = filled(Cluster(kafka), topic)
    expected = cluster.merged()
    assert len(expected) > 200
    with Follower(cluster.config(), tmp_path) as follower:
        follower.wait_merged(len(expected))
        eventually("it has caught up", lambda: follower.status()["behind"] == 0)
        said = follower.status()
    found = mirrored(DataFolder(tmp_path))
    assert found == expected
    assert said["kafka"]
    assert (said["dead"], said["copies"], said["error"]) == (0, 0, "")
    assert said["ends"] == [len(held) for held in topic.partitions]
    assert sum(said["offsets"]) == len(found)
    counters = folded(scribe, found)[1]
    assert folded(scribe, found) == folded(scribe, expected)
    assert counters["joined"] > 50


def test_what_comes_later_comes_too(kafka: RunningKafka, tmp_path: Path) -> None:
    topic = a_chain(10)
    cluster = filled(Cluster(kafka), topic)
    with Follower(cluster.config(), tmp_path) as follower:
        follower.wait_merged(12)
        for _ in range(3):
            known = len(topic.messages)
            cluster.write(goes_on(topic, 5).messages[known:])
            follower.wait_merged(len(topic.messages))
    assert mirrored(DataFolder(tmp_path)) == cluster.merged()


def test_a_topic_that_is_not_there_yet_is_waited_for(kafka: RunningKafka, tmp_path: Path) -> None:
    cluster = Cluster(kafka)
    with Follower(cluster.config(), tmp_path) as follower:
        eventually("it says so", lambda: follower.status().get("kafka") is False)
        assert cluster.topic() not in topics(kafka), "nor has it made one by asking for it"
        filled(cluster, a_chain(10))
        follower.wait_merged(12)


def topics(kafka: RunningKafka) -> set[str]:
    found: set[str] = set()

    async def ask(client: AIOKafkaAdminClient) -> None:
        found.update(await client.list_topics())

    admin(kafka, ask)
    return found


def test_partitions_may_be_added(kafka: RunningKafka, tmp_path: Path) -> None:
    """By a Config in the log; those that Kafka has not made yet are waited for."""
    topic = a_chain(20)
    cluster = filled(Cluster(kafka), topic)
    with Follower(cluster.config(), tmp_path) as follower:
        follower.wait_merged(22)
        known = len(topic.messages)
        topic.now_us += 10**6
        topic.config(50, 3)
        cluster.write(topic.messages[known:])
        follower.wait_merged(23)
        added = {cluster.topic(): NewPartitions(3)}
        admin(kafka, lambda client: client.create_partitions(added))
        known = len(topic.messages)
        topic.now_us += 10**6
        cluster.write(goes_on(topic, 60, 3).messages[known:])
        expected = cluster.merged()
        assert len(expected) > 80
        follower.wait_merged(len(expected))
    assert mirrored(DataFolder(tmp_path)) == expected


def test_marks_of_a_transaction_are_no_records_to_wait_for(
    kafka: RunningKafka, tmp_path: Path
) -> None:
    cluster = filled(Cluster(kafka), a_chain(5))

    async def reward() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap, transactional_id=cluster.prefix
        )
        await producer.start()
        try:
            async with producer.transaction():
                await producer.send_and_wait(cluster.topic(), external(1), partition=0)
        finally:
            await producer.stop()

    asyncio.run(reward())
    with Follower(cluster.config(), tmp_path) as follower:
        follower.wait_merged(8)
        eventually("it has caught up", lambda: follower.status()["behind"] == 0)


def external(number: int) -> bytes:
    return json.dumps(
        {"kind": "reward", "event_id": f"e{number}", "reward_id": "r", "value": 0.5}
    ).encode()


# -- it is stopped, or Kafka is --------------------------------------------------------------------


def test_killed_at_any_time_it_goes_on_where_it_was(kafka: RunningKafka, tmp_path: Path) -> None:
    cluster = filled(Cluster(kafka), a_chain(30_000, 4, size=100))
    expected = cluster.merged()
    folder = DataFolder(tmp_path)
    steps = [len(expected) * n // 5 for n in (1, 2, 3)]
    for least in (*steps, len(expected)):
        with start_process(cluster.config(), tmp_path) as process:
            eventually("a part", lambda least=least: last(folder) >= least)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
    found = mirrored(folder)
    assert len(found) == len(expected)
    assert found == expected


def last(folder: DataFolder) -> int:
    try:
        with closing(MirrorReader(folder.merged(APP))) as reader:
            return reader.bounds()[1]
    except FileNotFoundError:
        return 0


def test_without_a_mirror_it_begins_where_a_checkpoint_says(
    kafka: RunningKafka, tmp_path: Path
) -> None:
    cluster = filled(Cluster(kafka), a_chain(2 * KEEP_EVERY, size=10))
    expected = cluster.merged()
    with Follower(cluster.config(), tmp_path / "one") as follower:
        follower.wait_merged(len(expected))
    one, other = DataFolder(tmp_path / "one"), DataFolder(tmp_path / "other")
    with closing(MirrorReader(one.merged(APP))) as reader:
        state = reader.merge_state(2 * KEEP_EVERY - 1)
    assert state.sequence >= KEEP_EVERY
    checkpoints = Checkpoints(other.checkpoints(APP))
    needed = internal_pb2.Checkpoint(app=APP, version=7, merge_state=state.SerializeToString())
    checkpoints.save(needed)
    checkpoints.save(internal_pb2.Checkpoint(app=APP, version=9))  # of a log without Kafka
    delete_before(cluster, state.offsets[0])
    with Follower(cluster.config(), tmp_path / "other") as follower:
        follower.wait_merged(len(expected))
    assert mirrored(other) == expected[state.sequence :]


def test_whatever_happens_to_kafka_it_goes_on(
    breakable: tuple[Kafka, Proxy, Cluster], tmp_path: Path
) -> None:
    broker, proxy, cluster = breakable
    topic = a_chain(200, 2)
    filled(cluster, topic)
    with Follower(cluster.config(), tmp_path / "data") as follower:

        def more() -> None:
            known = len(topic.messages)
            topic.now_us += 10**6
            cluster.write(goes_on(topic, 200, 2).messages[known:])

        def goes_on_after(what: str) -> None:
            least = len(cluster.merged())
            eventually(f"merged after {what}", lambda: follower.status().get("merged", 0) >= least)

        def is_told() -> None:
            eventually("the status says so", lambda: not follower.status()["kafka"])

        goes_on_after("the start")
        proxy.reset()
        more()
        goes_on_after("a reset")
        proxy.cut()
        more()
        is_told()
        assert follower.status()["behind"] is None
        proxy.heal()
        goes_on_after("a partition")
        proxy.refuse()
        more()
        is_told()
        proxy.heal()
        goes_on_after("nobody listened")
        broker.pause()
        is_told()
        broker.resume()
        broker.wait_ready()
        more()
        goes_on_after("a pause")
        broker.kill()
        is_told()
        broker.start()
        more()
        goes_on_after("a kill")
    assert (
        mirrored(DataFolder(tmp_path / "data")) == cluster.merged()[: follower.status()["merged"]]
    )


@pytest.mark.parametrize("how", ["nobody there", "silent"])
def test_it_stops_at_once_though_kafka_is_away(tmp_path: Path, how: str) -> None:
    with Proxy("127.0.0.1", free_port(), free_port()) as proxy:
        if how == "silent":
            proxy.cut()
        else:
            proxy.refuse()
        config = Cluster(None, "p", f"127.0.0.1:{proxy.port}").config(timeout="1h")  # type: ignore[arg-type]
        with Follower(config, tmp_path) as follower:
            eventually("it says so", lambda: follower.status().get("kafka") is False)
            stopping = threading.Thread(target=follower.stop)
            stopping.start()
            stopping.join(10)  # of an hour
            assert not stopping.is_alive()


def test_a_consumer_that_is_stuck_is_made_anew(
    kafka: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "_ENDS_SECONDS", 0.2)
    monkeypatch.setattr(follower_module, "_STUCK_SECONDS", 1.0)
    topic = a_chain(20)
    cluster = filled(Cluster(kafka), topic)
    following = Following(
        APP, lambda: TopicReader(kafka.bootstrap, cluster.topic(), 5.0), tmp_path / "m"
    )

    async def merged(number: int) -> None:
        def there() -> bool:
            return following.merger.sequence >= number

        await asyncio.to_thread(eventually, f"{number} merged", there)

    async def follow() -> None:
        task = asyncio.create_task(following.run())
        await merged(22)
        reader = following._reader
        assert reader is not None
        assert reader._consumer is not None
        reader._consumer._fetcher._fetch_task.cancel()  # as if it had been forgotten
        await asyncio.to_thread(cluster.write, goes_on(topic, 10).messages[22:])
        await merged(33)
        assert following._reader is not reader
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(follow())


def test_a_mirror_that_cannot_be_written_is_tried_again(
    kafka: RunningKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "_APPEND_SECONDS", 0.1)
    topic = a_chain(20)
    cluster = filled(Cluster(kafka), topic)
    with Follower(cluster.config(), tmp_path) as follower:
        follower.wait_merged(22)
        path = DataFolder(tmp_path).merged(APP)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            cluster.write(goes_on(topic, 1_500).messages[22:])
            eventually("it tries", lambda: follower.status()["kafka"] is False)
            assert last(DataFolder(tmp_path)) == 22
        follower.wait_merged(1_523)
    assert mirrored(DataFolder(tmp_path)) == cluster.merged()


# -- what it refuses -------------------------------------------------------------------------------


def test_records_that_retention_took_are_missed_and_the_other_app_goes_on(
    kafka: RunningKafka, tmp_path: Path
) -> None:
    cluster = filled(Cluster(kafka), a_chain(20))
    cluster.create(app="other")
    topic = Topic()
    cluster.write([topic.write(external(n)) for n in range(10)], app="other")
    config = cluster.config(APP, "other")
    with Follower(config, tmp_path, APP) as follower:
        follower.wait_merged(22)
    cluster.write(goes_on(a_chain(20), 20).messages[22:])
    delete_before(cluster, 30)
    with Follower(config, tmp_path, APP, "other") as follower:
        error = follower.wait_error()
        follower.wait_merged(10, app="other")
        assert follower.status("other")["error"] == ""
    for said in ("begins at offset 30", "offset 22 is needed", "checkpoints", "kafka.prefix"):
        assert said in error
    assert len(mirrored(DataFolder(tmp_path))) == 22


def test_a_beginning_that_is_gone_is_missed(kafka: RunningKafka, tmp_path: Path) -> None:
    cluster = filled(Cluster(kafka), a_chain(20))
    delete_before(cluster, 1)
    with Follower(cluster.config(), tmp_path) as follower:
        assert "begins at offset 1, but offset 0 is needed" in follower.wait_error()
    assert mirrored(DataFolder(tmp_path)) == []


def test_a_topic_that_was_made_anew_is_told(kafka: RunningKafka, tmp_path: Path) -> None:
    cluster = filled(Cluster(kafka), a_chain(20))
    with Follower(cluster.config(), tmp_path) as follower:
        follower.wait_merged(22)
    admin(kafka, lambda client: client.delete_topics([cluster.topic()]))
    eventually("it is gone", lambda: cluster.topic() not in topics(kafka))
    filled(cluster, a_chain(5))
    with Follower(cluster.config(), tmp_path) as follower:
        assert "ends at offset 7, but everything up to 22 has been read" in follower.wait_error()


def test_stamps_of_producers_are_refused(kafka: RunningKafka, tmp_path: Path) -> None:
    cluster = Cluster(kafka)
    kafka.create_topic(cluster.topic())
    cluster.write(a_chain(5).messages)
    with Follower(cluster.config(), tmp_path) as follower:
        error = follower.wait_error()
    assert "partition 0, offset 0: stamped by its producer" in error
    assert "LogAppendTime" in error


def test_a_hole_stops_it_after_all_that_comes_before(kafka: RunningKafka, tmp_path: Path) -> None:
    topic = a_chain(20)
    topic.send(40, previous_sequence=30)
    cluster = filled(Cluster(kafka), goes_on(topic, 20))
    with Follower(cluster.config(), tmp_path) as follower:
        error = follower.wait_error()
    assert "record 40 after 30" in error
    assert len(mirrored(DataFolder(tmp_path))) == 22


def test_a_damaged_mirror_is_told(kafka: RunningKafka, tmp_path: Path) -> None:
    cluster = filled(Cluster(kafka), a_chain(5))
    path = DataFolder(tmp_path).merged(APP)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not what it should be " * 1_000)
    with Follower(cluster.config(), tmp_path) as follower:
        assert "merged.sqlite is damaged" in follower.wait_error()


# -- poison ----------------------------------------------------------------------------------------


def test_what_cannot_be_read_goes_to_the_dead_letters(kafka: RunningKafka, tmp_path: Path) -> None:
    cluster = filled(Cluster(kafka), a_chain(10))
    kafka.create_topic(f"{cluster.topic()}.dead")
    big = b"\xff" * (4 << 20)
    bad = {
        b"junk": "neither JSON",
        b'{"kind":"reward","event_id":"e","reward_id":"r","value":NaN}': "not finite",
        b'{"kind":"reward"': "begins like JSON",
        b"": "only rewards",
        big: "neither JSON",
        b'{"a":' * 5_000: "begins like JSON",
    }
    topic = Topic()
    cluster.write([topic.write(value) for value in (*bad, external(1))])
    letters = f"{cluster.topic()}.dead"
    with Follower(cluster.config(), tmp_path) as follower:
        follower.wait_merged(13)
        assert follower.status()["dead"] == len(bad)
        eventually("the letters", lambda: len(cluster.read(letters)) == len(bad))
    assert mirrored(DataFolder(tmp_path))[-1].event_id == "e1"
    found = {record.key.decode(): record for record in cluster.read(letters)}
    for offset, (value, reason) in enumerate(bad.items(), 12):
        letter = found[f"0/{offset}"]
        headers = dict(letter.headers)
        assert reason in headers["reason"].decode()
        assert letter.value == value[: 64 << 10]
        assert headers.get("size") == (str(4 << 20).encode() if value is big else None)


def test_rewards_of_others_are_taken_as_json_and_as_protobuf(
    kafka: RunningKafka, tmp_path: Path
) -> None:
    cluster = Cluster(kafka)
    cluster.create()
    reward = pb.Reward(value=0.25, reward_id="p", slot_id="top")
    header = pb.Header(kind=pb.KIND_REWARD, event_id="two", origin_time_us=1_000_000)
    record = pb.Record(header=header, payload=reward.SerializeToString())
    topic = Topic()
    cluster.write([topic.write(external(1)), topic.write(record.SerializeToString())])
    with Follower(cluster.config(), tmp_path) as follower:
        follower.wait_merged(2)
    one, two = mirrored(DataFolder(tmp_path))
    assert (one.event_id, one.node, one.number) == ("e1", "", 0)
    assert one.origin_us == one.log_time_us
    assert one.message(pb.Reward) == pb.Reward(value=0.5, reward_id="r")
    assert (two.event_id, two.origin_us) == ("two", 1_000_000)
    assert two.message(pb.Reward) == reward


def memory(pid: int) -> int:
    """Bytes of RAM that the process has."""
    fields = Path(f"/proc/{pid}/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) << 10


def test_a_flood_of_junk_is_counted_in_the_same_memory(kafka: RunningKafka, tmp_path: Path) -> None:
    """No topic for dead letters either: they are dropped, and nothing waits for them."""
    cluster = Cluster(kafka)
    cluster.create()
    junk = Topic()
    for n in range(10_000):
        junk.write(f'{{"kind": "reward", "number": {n}, "junk": "{"x" * 500}"}}'.encode())
    folder = DataFolder(tmp_path)
    with start_process(cluster.config(), tmp_path) as process:
        try:
            before = 0
            for flood in range(1, 11):
                cluster.write(junk.messages)
                eventually("counted", lambda n=flood: status(folder).get("dead") == 10_000 * n)  # type: ignore[misc]
                before = before or memory(process.pid)
            assert memory(process.pid) < before + (24 << 20)  # of 55 MB that went through
        finally:
            process.kill()


def test_a_partition_that_runs_ahead_waits_outside(kafka: RunningKafka, tmp_path: Path) -> None:
    """130 MB for one of them, while nothing is heard of the other."""
    cluster = Cluster(kafka)
    cluster.create(2)
    topic = Topic()
    topic.config(1, 2)
    cluster.write(topic.messages)
    payload = pb.Reward(value=1, reward_id="r" * 4_000).SerializeToString()
    folder = DataFolder(tmp_path)
    with start_process(cluster.config(), tmp_path) as process:
        try:
            eventually("the Config", lambda: status(folder).get("merged") == 1)
            before = memory(process.pid)
            for step in range(4):
                first = len(topic.partitions[0])
                for number in range(2 + 8_000 * step, 2 + 8_000 * (step + 1)):
                    topic.send(number, pb.KIND_REWARD, event_id="e", payload=payload)
                cluster.write(topic.partitions[0][first:])
            eventually("enough is held", lambda: status(folder).get("held", 0) > 10_000)
            eventually("it waits", lambda: status(folder).get("waiting_for") == [1])
            held = status(folder)["held"]
            assert held < 20_000
            assert memory(process.pid) < before + (160 << 20)
            cluster.write([topic.send(50_000, partition=1)])
            eventually("all but the tick", lambda: status(folder)["merged"] == 32_001)
        finally:
            process.kill()


def test_records_of_four_megabytes_come_through_beside_small_ones(
    kafka: RunningKafka, tmp_path: Path
) -> None:
    cluster = Cluster(kafka)
    cluster.create(4, **{"max.message.bytes": str(16 << 20)})
    topic = Topic()
    topic.config(1, 4)
    for number in range(2, 42):
        payload = b"x" * (4 << 20 if number % 5 == 0 else 10)
        topic.send(number, pb.KIND_REWARD, number % 4, event_id="e", payload=payload)
    for partition in range(4):
        topic.send(50, partition=partition)
    cluster.write(topic.messages)
    expected = cluster.merged()
    with Follower(cluster.config(), tmp_path) as follower:
        follower.wait_merged(len(expected))
    assert mirrored(DataFolder(tmp_path)) == expected
