"""A follower in a thread of this process or in a process of its own, and topics that it follows."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from server.config import Config
from server.files import DataFolder
from server.fold.merge import DeadLetter, Merger, Message
from server.kafka.follower import run
from server.kafka.mirror import MirrorReader
from tests.server.harness import PATIENCE, eventually
from tests.server.topics import APP, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from server.fold.records import LogRecord
    from tests.services.running_kafka import RunningKafka

BY_BROKER = {"message.timestamp.type": "LogAppendTime"}
_prefixes = count(1)


@dataclass
class Cluster:
    """One broker's topics for one test, under a prefix of its own."""

    kafka: RunningKafka
    prefix: str = ""
    bootstrap: str = ""  # where clients of the test connect to, if not to the broker itself

    def __post_init__(self) -> None:
        self.prefix = self.prefix or f"f{time.time_ns()}-{next(_prefixes)}"

    def config(self, *apps: str, **kafka: Any) -> Config:
        address = self.bootstrap or self.kafka.bootstrap
        names: dict[str, Any] = {app: {} for app in apps or (APP,)}
        return Config(
            apps=names,
            kafka={"bootstrap": address, "prefix": self.prefix, "timeout": "2s", **kafka},
        )

    def topic(self, app: str = APP) -> str:
        return f"{self.prefix}.{app}"

    def create(self, partitions: int = 1, app: str = APP, **config: str) -> None:
        self.kafka.create_topic(self.topic(app), partitions, config={**BY_BROKER, **config})

    def write(self, messages: Iterable[Message], app: str = APP) -> None:
        """Writes values, each to its partition, in order; the last of each when all others are there.

        So the broker's stamps of the last ones are later, and everything before them has its place in the merge.
        """
        messages = list(messages)
        ends = {id(message) for message in {m.partition: m for m in messages}.values()}
        first = [(m.partition, m.value) for m in messages if id(m) not in ends]
        last = [(m.partition, m.value) for m in messages if id(m) in ends]
        asyncio.run(self._write([first, last], self.topic(app)))

    async def _write(self, groups: list[list[tuple[int, bytes]]], topic: str) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka.bootstrap,
            max_request_size=16 << 20,
            max_batch_size=1 << 18,
        )
        await producer.start()
        try:
            for values in groups:
                await asyncio.sleep(0.002)  # stamps are milliseconds
                sent = [await producer.send(topic, value, partition=n) for n, value in values]
                await asyncio.gather(*sent)
        finally:
            await producer.stop()

    def read(self, topic: str) -> list[Any]:
        """All that is in a topic now, as aiokafka's records."""
        return asyncio.run(self._read(topic))

    async def _read(self, topic: str) -> list[Any]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka.bootstrap, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            first = TopicPartition(topic, 0)
            consumer.assign([first])
            await consumer.end_offsets([first])
            partitions = [
                TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()
            ]
            begins = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            consumer.assign(partitions)
            for partition in partitions:
                consumer.seek(partition, begins[partition])
            found = []
            while any([await consumer.position(p) < ends[p] for p in partitions]):
                for records in (await consumer.getmany(timeout_ms=1_000)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    def merged(self, app: str = APP) -> list[LogRecord]:
        """What a follower must make of the topic as it is now, by the pure merger fed in the plainest way."""
        by_partition: dict[int, list[Message]] = defaultdict(list)
        for r in self.read(self.topic(app)):
            message = Message(r.partition, r.offset, 1_000 * r.timestamp, r.value or b"")
            by_partition[r.partition].append(message)
        merger, items = Merger(app), list[Any]()
        while True:
            before = merger.offsets
            for partition in range(len(before)):
                for message in by_partition[partition]:
                    merger.feed(message)
            items.extend(merger.emit())
            if merger.offsets == before:
                return [item for item in items if not isinstance(item, DeadLetter)]


def filled(cluster: Cluster, topic: Topic, partitions: int | None = None) -> Cluster:
    """The topic, made and filled."""
    cluster.create(partitions or len(topic.partitions))
    cluster.write(topic.messages)
    return cluster


class Follower:
    """A follower in a thread of its own. As a context manager it runs until the end, or until `stop`."""

    def __init__(self, config: Config, folder: Path, *apps: str) -> None:
        self.folder = DataFolder(folder)
        self._config = config
        self._apps = list(apps) or [APP]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(run(self._config, self.folder, self._apps, self._stop))
        except BaseException as error:  # told by __exit__
            self._failure = error
        finally:
            self._loop.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert self._failure is None, self._failure

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the follower does not stop"

    def status(self, app: str = APP) -> dict[str, Any]:
        """What it last said; empty before that."""
        return status(self.folder, app)

    def wait_merged(self, number: int, app: str = APP) -> None:
        eventually(f"{number} merged", lambda: self.status(app).get("merged", 0) >= number)

    def wait_error(self, app: str = APP) -> str:
        return str(eventually("an error", lambda: self.status(app).get("error")))

    def records(self, app: str = APP) -> list[LogRecord]:
        return mirrored(self.folder, app)


def status(folder: DataFolder, app: str = APP) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(folder.following(app).read_bytes())
    except FileNotFoundError:
        return {}
    return said


def mirrored(folder: DataFolder, app: str = APP) -> list[LogRecord]:
    """All that the mirror holds now."""
    with closing(MirrorReader(folder.merged(app))) as reader:
        return list(reader.records(reader.bounds()[0] - 1))


_PROCESS = """
import asyncio, sys
from pathlib import Path
from server.config import Config
from server.files import DataFolder
from server.kafka.follower import run
config, folder = Config.model_validate_json(sys.argv[1]), DataFolder(Path(sys.argv[2]))
asyncio.run(run(config, folder, list(config.apps), asyncio.Event()))
"""


def start_process(config: Config, folder: Path) -> subprocess.Popen[bytes]:
    """A follower that can be killed."""
    command = [sys.executable, "-c", _PROCESS, config.model_dump_json(), str(folder)]
    return subprocess.Popen(command)
