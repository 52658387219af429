"""Topics of two, four and eight partitions, and a server that dies for good."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from policies import state_sha256
from rankd.v1 import log_pb2 as pb
from server.fold.fold import AppFold
from server.fold.merge import Merger
from server.fold.records import LogRecord
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, TOPIC, Cluster, folder_id
from tests.faults.load import Load
from tests.faults.topic import Merged, read_topic
from tests.server.harness import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.fold.merge import Message

_COUNTS = (2, 4, 8)
# Seconds for which clients try again. A restart takes three, where the machine has nothing else to do.
_PATIENCE = 120.0
_NODE_LEASE = 5
# Orders of arrival that are tried besides that of the learners, for each topic.
_ORDERS = 3
# An app that assumes a reward where none comes: it has to know that none is under way.
WAITING = {
    "kafka": {"partitions": _COUNTS[-1], "node_lease": f"{_NODE_LEASE}s"},
    "apps": {APP: {"reward": {"min": -1, "default": -1, "always_sent": False, "wait": "2s"}}},
}


def partitions(folder: Path, rounds: int, seed: int) -> Outcome:
    """The fold is the same whatever the arrival order: while a topic grows, and in the long form of a new one, too."""
    growing = _COUNTS[:2] if rounds <= 2 else _COUNTS
    outcome = _partitions(folder / "growing", growing, rounds, seed)
    if rounds >= 10:
        for count in _COUNTS:
            more = _partitions(folder / str(count), (count,), rounds, seed)
            outcome.fault += f", of {count}"
            for name in ("injected", "decisions", "rewards", "learned", "verified"):
                setattr(outcome, name, getattr(outcome, name) + getattr(more, name))
            outcome.longest_call = max(outcome.longest_call, more.longest_call)
    return outcome


def _partitions(folder: Path, counts: tuple[int, ...], rounds: int, seed: int) -> Outcome:
    folder.mkdir()
    with Cluster(folder, {"kafka": {"partitions": counts[0]}}) as cluster:
        ports = [node.port for node in cluster.servers]
        with Load(ports, seed=seed, timeout=_PATIENCE) as load:
            for count in counts:
                if count > counts[0]:
                    cluster.change({"kafka": {"partitions": count}})
                    # In any order: whoever is first adds the partitions, and whoever is last uses them last.
                    for name in random.Random(seed + count).sample(sorted(cluster.nodes), 3):
                        cluster.restart(name)
                _wait_more(load, 50 * min(rounds, 10))
        settle(cluster, load)
        assert load.failed == 0, load.error
        outcome = check(cluster, f"a topic of {' -> '.join(map(str, counts))} partitions", load)
        messages = read_topic(cluster.kafka.bootstrap, TOPIC)
    used = {message.partition for message in messages}
    assert used == set(range(counts[-1])), f"records in partitions {sorted(used)} only"
    orders = _same_in_any_order(messages, random.Random(seed))
    outcome.injected = len(counts) - 1
    outcome.note = f"the same fold in {orders} other orders of arrival"
    return outcome


def dead_server(folder: Path, rounds: int, seed: int) -> Outcome:
    """Its last decisions wait for its lease, since their rewards may wait on it; then they are closed, and learning goes on."""
    with Cluster(folder, WAITING) as cluster:
        left, dying = cluster.servers
        dead = folder_id(dying)
        with Load([left.port, dying.port], seed=seed) as before:
            _wait_more(before, 50 * min(rounds, 10))
        cluster.wait_shipped()  # what it alone has is lost for good
        dying.kill_all()
        del cluster.nodes["server-1"]
        matured = cluster.owner().counters(APP)["matured"]
        with Load([left.port], name="after", seed=seed) as after:
            # More than were open when it died: some were decided after its death.
            enough = before.decisions + 1

            def learns() -> bool:
                return cluster.owner().counters(APP)["matured"] >= enough

            eventually("learning to go on without the dead server", learns)
        settle(cluster, before, after)
        eventually("every window to close", _nothing_pending(cluster))
        outcome = check(cluster, "a server that dies for good", before, after)
        messages = read_topic(cluster.kafka.bootstrap, TOPIC)
    _waited_for_the_lease(Merged.of(APP, messages), dead)
    assert outcome.learned == before.decisions + after.decisions
    _same_in_any_order(messages, random.Random(seed))
    outcome.injected = 1
    outcome.note = f"{before.decisions - matured} windows were open when it died"
    return outcome


def _wait_more(load: Load, decisions: int) -> None:
    enough = load.rewards + decisions
    eventually(f"{decisions} more decisions", lambda: load.rewards >= enough)


def _nothing_pending(cluster: Cluster) -> Callable[[], bool]:
    def probe() -> bool:
        status = cluster.owner().status(APP)
        return status.pending == 0 and status.lag_records == 0

    return probe


# -- what the topic tells --------------------------------------------------------------------------


def _same_in_any_order(messages: list[Message], rng: random.Random) -> int:
    """Holds the merge and the fold of random orders of arrival against each other; returns how many were tried."""
    expected = Merged.of(APP, messages)
    model = expected.fold()[0].model
    assert model is not None
    for _ in range(_ORDERS):
        merged = Merged(APP, _merge(messages, rng))
        assert merged.log == expected.log
        again = merged.fold()[0].model
        assert again is not None
        assert state_sha256(again.state()) == state_sha256(model.state())
    return _ORDERS


def _merge(messages: list[Message], rng: random.Random) -> list[LogRecord]:
    """Merges partitions that come in pieces of any length, in any order."""
    merger = Merger(APP)
    waiting: dict[int, list[Message]] = {}
    for message in reversed(messages):
        waiting.setdefault(message.partition, []).append(message)
    log: list[LogRecord] = []
    while True:
        ready = [n for n in range(len(merger.offsets)) if waiting.get(n)]
        if ready:
            partition = rng.choice(ready)
            for _ in range(rng.choice((1, 10, 1000))):
                if waiting[partition]:
                    merger.feed(waiting[partition].pop())
        if not ready or rng.random() < 0.5:
            emitted = list(merger.emit())
            log += [item for item in emitted if isinstance(item, LogRecord)]
            if not ready and not emitted:
                return log


def _waited_for_the_lease(merged: Merged, dead: str) -> None:
    """Between a server's last record and its fence no window closes that its silence leaves open, on the log's clock."""
    fold = AppFold(APP, merged.read, merged.artefact)
    last = max(r.sequence for r in merged.log if r.folder == dead and r.node)
    fences = [
        r.sequence
        for r in merged.log
        if r.kind == pb.KIND_FENCE and r.message(pb.Fence).folder == dead and r.sequence > last
    ]
    assert fences, "the dead server was never given up"
    fence = fences[0]
    heard = due = 0
    for record in merged.log:
        if record.sequence == fence:
            silent = fold.clock.now_us - heard
            assert silent >= 1_000_000 * _NODE_LEASE, f"given up after {silent} us"
            assert due <= heard, "windows closed while the dead server was waited for"
        fold.step(record)
        due = fold.clock.due_us
        if record.sequence == last:
            heard = fold.clock.now_us
    assert due > heard, "no window closed after the fence"
