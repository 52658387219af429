"""A node's journal with its writer and its shipper, each in a process of its own, and what has to be in Kafka in the end."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

from aiokafka.partitioner import DefaultPartitioner

from rankd.v1 import log_pb2 as pb
from server.files import DataFolder, replace
from server.journal.client import BlockingJournal
from server.journal.store import JournalReader, Store
from server.kafka.shipper import run
from tests.server.harness import PATIENCE, REPOSITORY, eventually

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from server.config import Config
    from server.fold.records import LogRecord
    from tests.kafka.follow import Cluster

# (app, partition)
Place = tuple[str, int]
OF_EVENT = (pb.KIND_DECISION, pb.KIND_REWARD, pb.KIND_ACTIVATION)


def record(
    kind: int = pb.KIND_REWARD, event_id: str = "", app: str = "shop", payload: bytes = b"x"
) -> pb.Record:
    header = pb.Header(app=app, kind=pb.Kind.Name(kind), event_id=event_id, origin_time_us=7)
    return pb.Record(header=header, payload=payload)


def tick() -> pb.Record:
    return record(pb.KIND_TICK, app="", payload=b"")


def journal_of(path: Path, *groups: list[pb.Record]) -> DataFolder:
    """A data folder with a journal of these records, each group with a stamp of its own."""
    folder = DataFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    with closing(Store(folder.journal, shared=True)) as store:
        for group in groups:
            store.append([group])
    return folder


def read(folder: DataFolder) -> list[LogRecord]:
    with closing(JournalReader(folder.journal)) as reader:
        return list(reader.records(reader.bounds()[0] - 1))


def ship(config: Config, folder: DataFolder) -> None:
    """Copies all that the journal has; nobody keeps the position."""

    async def shipping() -> None:
        stop = asyncio.Event()
        stop.set()
        await run(config, folder, stop)

    asyncio.run(shipping())


# -- what is in Kafka ------------------------------------------------------------------------------


def sent(cluster: Cluster, folder: DataFolder, app: str) -> dict[Place, list[pb.Record]]:
    """What a reader takes of this journal, by the rules for copies and holes."""
    with closing(JournalReader(folder.journal)) as reader:
        uuid = reader.folder()
    taken: dict[Place, list[pb.Record]] = defaultdict(list)
    for each in cluster.read(cluster.topic(app)):
        found = pb.Record.FromString(each.value)
        assert each.key == (found.header.event_id.encode() or None)
        if found.header.node.split(".")[0] != uuid:
            continue
        chain = taken[app, each.partition]
        last = chain[-1].header.sequence if chain else 0
        if found.header.sequence <= last:
            continue  # a copy
        assert found.header.previous_sequence == last, f"a hole in {app}-{each.partition}"
        chain.append(found)
    return dict(taken)


def due(records: Iterable[LogRecord], apps: list[str], partitions: int) -> dict[Place, list[int]]:
    """Sequences that have to be in each partition, in order."""
    wanted: dict[Place, list[int]] = defaultdict(list)
    every = list(range(partitions))
    for each in records:
        if not each.app:
            to = [(app, n) for app in apps for n in every]
        elif each.kind in OF_EVENT:
            key = each.event_id.encode()
            to = [(each.app, DefaultPartitioner()(key, every, every))]
        else:
            to = [(each.app, 0)]
        for place in to:
            wanted[place].append(each.sequence)
    return dict(wanted)


def complete(cluster: Cluster, folder: DataFolder, apps: list[str], partitions: int) -> None:
    """Asserts that everything of the journal is in Kafka as it is in the journal: in order, in its place, unchanged."""
    records = {each.sequence: each for each in read(folder)}
    wanted = due(records.values(), apps, partitions)
    for app in apps:
        for place, chain in sent(cluster, folder, app).items():
            assert [each.header.sequence for each in chain] == wanted.pop(place)
            for each in chain:
                original = records[each.header.sequence].to_proto()
                assert each.header.lag_us >= 0
                each.header.lag_us = original.header.lag_us
                each.header.previous_sequence = original.header.previous_sequence
                assert each == original
    assert not wanted


# -- processes -------------------------------------------------------------------------------------


class Node:
    """A data folder with processes. As a context manager it kills what runs at the end."""

    def __init__(self, path: Path, config: Config) -> None:
        self.folder = DataFolder(path)
        self.log = path.with_name(f"{path.name}.log")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        replace(self.folder.config, config.model_dump_json().encode(), durable=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for role in list(self._processes):
            self.kill(role)

    def start(self, *roles: str) -> None:
        for role in roles:
            if role == "shipper":
                self.folder.shipped.unlink(missing_ok=True)
            with self.log.open("ab") as log:
                self._processes[role] = subprocess.Popen(
                    [sys.executable, "-m", "server.process", role, str(self.folder.root), "0"],
                    stdin=subprocess.PIPE,
                    stderr=log,
                    cwd=REPOSITORY,
                )
            if role == "writer":
                eventually("the writer", self._writes)
            if role == "shipper":  # from here on it knows what SIGTERM means
                eventually(f"the shipper; its log:\n{self.tail()}", self.folder.shipped.exists)

    def _writes(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self.folder.socket)) == 0

    def kill(self, role: str) -> None:
        process = self._processes.pop(role)
        process.kill()
        self._wait(process)

    def stop(self, role: str) -> int:
        """An orderly stop; returns the exit code."""
        process = self._processes.pop(role)
        process.terminate()
        return self._wait(process)

    def ended(self, role: str) -> int:
        """Waits until the process has ended by itself; returns the exit code."""
        return self._wait(self._processes.pop(role))

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        assert process.stdin is not None
        try:
            return process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()

    def append(self, *records: pb.Record) -> int:
        """Through the writer; returns the last sequence."""
        journal = BlockingJournal(self.folder.socket, PATIENCE)
        return journal.append(records)[-1].sequence

    def standing(self) -> dict[str, Any]:
        """What the shipper says of itself."""
        if not self.folder.shipped.exists():
            return {}
        return dict(json.loads(self.folder.shipped.read_bytes()))

    def wait_shipped(self, sequence: int) -> None:
        eventually(
            f"record {sequence} to be shipped; the log ends:\n{self.tail()}",
            lambda: self.standing().get("sequence", 0) >= sequence,
        )

    def tail(self) -> str:
        return self.log.read_text()[-3_000:] if self.log.exists() else ""
