"""Logs that do not fit together: a topic that begins too late, a journal from an old backup, a topic made anew.

Each is refused, loudly and with what to do; nothing is read from where it happens to begin, or to end.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from rankd.v1 import log_pb2 as pb
from server.config_file import load
from server.files import DataFolder
from server.journal.store import JournalReader
from server.kafka.mirror import MirrorReader
from server.process import EX_CONFIG
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, TOPIC, Cluster, folder_id
from tests.faults.load import Load
from tests.faults.topic import read_topic
from tests.faults.watch import Watch, entries, wait_alarm, wait_said
from tests.kafka.follow import Follower, mirrored
from tests.server.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from server.fold.merge import Message
    from tests.server.harness import Service

_SETTINGS = {"kafka": {"node_lease": "5s"}}
_REFUSED = "cannot ship the journal; stopping this node"


def refusals(folder: Path, rounds: int, seed: int) -> Outcome:
    """Whoever has the log that does not fit refuses it; the others go on, and nothing of theirs is lost."""
    with Cluster(folder, _SETTINGS, learners=2) as cluster:
        first, second = cluster.servers
        owner = cluster.owner()
        (standby,) = (node for node in cluster.learners if node is not owner)
        # The other server's folder, models and all, is going to be replaced by an older one.
        with Watch([first]) as watch:
            with Load([first.port, second.port], seed=seed) as before:
                eventually("some decisions", lambda: before.decisions > 100)
            with Load([first.port], name="meanwhile", seed=seed) as meanwhile:
                forgotten, recovery = _old_backup(
                    cluster, second, owner, folder / "backup", seed, watch
                )
                earlier = _retention(cluster, standby, watch)
            with Load([first.port, second.port], name="after", seed=seed) as after:
                watch.wait_newer()
                eventually("some decisions", lambda: after.decisions > 50)
        loads = (before, forgotten, meanwhile, after)
        for each in loads:
            assert each.failed == 0, f"{each.failed} calls failed: {each.error}"
        # The standby still refuses, so only the owner counts.
        settle(cluster, *loads)
        outcome = check(cluster, "logs that do not fit", *loads, watch=watch, earlier=earlier)
        _topic_made_anew(cluster, owner, folder / "follower")
    note = "retention too short, a journal from an old backup, a topic made anew: each refused with what to do"
    return replace(outcome, injected=3, recovery=recovery, note=note)


# -- a journal restored from an old backup -----------------------------------------------------------


def _old_backup(
    cluster: Cluster, server: Service, owner: Service, backup: Path, seed: int, watch: Watch
) -> tuple[Load, float]:
    """The node refuses to go on, nothing more of it reaches the topic, and the others do without it.

    Returns:
        (what was acknowledged after the backup, seconds until nobody waited for the node any longer)
    """
    root, folder = server.folder.root, folder_id(server)
    assert server.stop() == 0
    shutil.copytree(root, backup, ignore=shutil.ignore_patterns("run"))
    server.start()
    with Load([server.port], name="forgotten", seed=seed) as forgotten:
        eventually("decisions that the backup lacks", lambda: forgotten.decisions > 50)
    last = _last(server)
    eventually("them to be shipped", lambda: _shipped(server) >= last)
    server.kill_all()
    there = _records_of(cluster, folder)
    shutil.rmtree(root)
    shutil.copytree(backup, root)
    since, learned_of = server.log.stat().st_size, owner.log.stat().st_size
    started = time.monotonic()
    server.launch()
    assert server.wait_stopped() == EX_CONFIG
    error = wait_said(server, _REFUSED, since)["error"]
    assert "restored from an old backup" in error
    assert "Empty the data folder" in error, "it says what to do"
    assert "docs/operations.md" in error
    wait_said(
        owner,
        "nothing has been heard of a node for longer than its lease; windows wait for it no longer",
        learned_of,
        node=folder,
    )
    recovery = time.monotonic() - started
    watch.wait_newer()
    assert _records_of(cluster, folder) == there, (
        "something of the restored journal is in the topic"
    )
    # What the message says: the node gets a new identity, and serves.
    shutil.rmtree(root)
    server.start()
    assert folder_id(server) != folder
    return forgotten, recovery


def _last(server: Service) -> int:
    with closing(JournalReader(server.folder.journal)) as journal:
        return journal.bounds()[1]


def _shipped(server: Service) -> int:
    """The last record that is in Kafka, as the journal knows it; kept with the next transaction, a tick at the latest."""
    with closing(JournalReader(server.folder.journal)) as journal:
        return journal.shipped().sequence


def _records_of(cluster: Cluster, folder: str) -> set[bytes]:
    """What a node has sent to the topic."""
    values = [message.value for message in read_topic(cluster.kafka.bootstrap, TOPIC)]
    return {value for value in values if pb.Record.FromString(value).header.node.startswith(folder)}


# -- a topic that begins later than the learner has to -------------------------------------------------


def _retention(cluster: Cluster, standby: Service, watch: Watch) -> list[Message]:
    """A learner whose mirror is lost refuses to learn from the middle of the log; the one that has its own goes on.

    Returns:
        What the topic had until then.
    """
    assert standby.stop() == 0
    kept = _content(standby.folder.checkpoints(APP))
    assert kept
    for path in standby.folder.root.glob("apps/*/merged.sqlite*"):
        path.unlink()
    earlier = read_topic(cluster.kafka.bootstrap, TOPIC)
    ends = {p: 1 + max(m.offset for m in earlier if m.partition == p) for p in (0, 1)}
    _delete_before(cluster, ends)
    since = standby.log.stat().st_size
    standby.start()
    error = wait_said(standby, "the log cannot be followed any further", since)["error"]
    assert "is needed; what was there is gone by the topic's retention" in error
    assert "delete apps/APP/merged.sqlite" in error, "it says what to do"
    assert error in wait_alarm(standby, "log-stopped")
    watch.wait_newer()
    with closing(MirrorReader(standby.folder.merged(APP))) as mirror:
        first, last = mirror.bounds()
        assert first == last + 1, "it has begun somewhere"
    assert _content(standby.folder.checkpoints(APP)) == kept, "its checkpoints are as they were"
    assert not [e for e in entries(standby, since) if e["event"] == "resumed"]
    assert standby.pids().keys() >= {"worker-0", "shipper", "relay"}, "the rest of the node runs"
    return earlier


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _delete_before(cluster: Cluster, offsets: dict[int, int]) -> None:
    """What the topic's retention does, only sooner."""

    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=cluster.kafka.bootstrap)
        await admin.start()
        try:
            await admin.delete_records(
                {
                    TopicPartition(TOPIC, partition): RecordsToDelete(before_offset=offset)
                    for partition, offset in offsets.items()
                }
            )
        finally:
            await admin.close()

    asyncio.run(delete())


# -- a topic deleted and made anew -------------------------------------------------------------------


def _topic_made_anew(cluster: Cluster, learner: Service, folder: Path) -> None:
    """Every node stops as soon as it notices, and says why; a follower refuses, too."""

    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=cluster.kafka.bootstrap)
        await admin.start()
        try:
            await admin.delete_topics([TOPIC])
        finally:
            await admin.close()

    since = {name: node.log.stat().st_size for name, node in cluster.nodes.items()}
    asyncio.run(delete())
    for name, node in cluster.nodes.items():
        assert node.wait_stopped() == EX_CONFIG, name
        error = wait_said(node, _REFUSED, since[name])["error"]
        assert "the topic was deleted and made again" in error
        assert "Begin a new log, with another kafka.prefix and empty data folders" in error
    # Its shipper stops a learner's node at once, so the follower has another folder for itself.
    root = learner.folder.root
    shutil.copytree(root / "apps", folder / "apps")
    config = load(root.with_name(f"{root.name}.yaml"))
    before = mirrored(DataFolder(folder), APP)
    with Follower(config, folder, APP) as follower:
        error = follower.wait_error(APP)
    assert "it was made anew, or lost records" in error
    assert "delete apps/APP here, on every learner" in error
    assert mirrored(DataFolder(folder), APP) == before
