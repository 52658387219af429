"""What is no record: noise, half a record, rewards that are no number, messages of megabytes."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from rankd.v1 import log_pb2 as pb
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, TOPIC, Cluster
from tests.faults.load import Load
from tests.faults.producer import json_reward, produce, proto_reward
from tests.faults.topic import read_topic
from tests.server.harness import eventually

_NAN, _INFINITY = float("nan"), float("inf")
# Messages after which the follower has taken all the memory that it needs, and all of them, in the long form.
_WARM, _MANY = 20_000, 100_000
# Bytes by which its memory may differ between the two.
_GROWTH = 50 << 20
# As many are sent at once, in the long form.
_STEP = 10_000
# Bytes of the largest messages.
_LARGE = 4 << 20


def _kinds(rng: random.Random, whole: bytes) -> list[bytes | None]:
    """One of each kind of poison.

    Args:
        whole: a record of the topic, to be cut.
    """
    reward = pb.Reward(value=1.0, reward_id="r").SerializeToString()
    decision = pb.Header(kind=pb.KIND_DECISION, event_id="e")
    nameless = pb.Header(kind=pb.KIND_REWARD, event_id="e", node="a-node", sequence=1)
    stranger = pb.Header(app="another", kind=pb.KIND_REWARD, node="a-node.1", sequence=1)
    return [
        None,
        b"",
        b"\xff" + rng.randbytes(rng.randrange(2_000)),  # no field begins so
        whole[: rng.randrange(1, 30)],  # within its header
        whole[: -rng.randrange(1, 10)],  # within its payload
        json_reward("e", _NAN, "r"),
        json_reward("e", _INFINITY, "r"),
        json_reward("e", 1e300, "r"),
        proto_reward("e", _NAN, "r"),
        proto_reward("e", -_INFINITY, "r"),
        json_reward("e", 1.0, ""),
        proto_reward("e", 1.0, ""),
        proto_reward("", 1.0, "r"),
        json_reward("e", 1.0, "r", app="another"),
        json_reward("e", 1.0, "r", decision_id="none"),
        json_reward("e", 1.0, "r", time_ms=_NAN),
        json_reward("e" * 300, 1.0, "r"),
        b'{"kind": "reward"',
        b'{"kind": "reward", "event_id": "\xff"}',
        b'{"kind": "decision"}',
        b'{"a":' * 5_000,
        b'{"kind": "reward", "value": ' + b"9" * 5_000 + b"}",
        *(
            pb.Record(header=header, payload=reward).SerializeToString()
            for header in (decision, nameless, stranger)
        ),
    ]


def poison(folder: Path, rounds: int, seed: int) -> Outcome:
    """It goes to the dead letters, and is counted; all else is learned, and memory stays as it is."""
    rng = random.Random(seed)
    with Cluster(folder) as cluster:
        bootstrap = cluster.kafka.bootstrap
        sent = copies = 0
        note = ""
        with Load([node.port for node in cluster.servers], seed=seed) as load:
            eventually("some load", lambda: load.rewards > 20)
            records = _records(bootstrap)
            for _ in range(rounds):
                _, whole = rng.choice(records)
                bad = [*_kinds(rng, whole), b"\xff" + rng.randbytes(_LARGE)]
                sent += produce(bootstrap, TOPIC, [(_key(rng), value) for value in bad])
                # What somebody sends once more is no poison, and changes nothing either.
                copies += produce(bootstrap, TOPIC, rng.sample(records, 5))
                produce(bootstrap, TOPIC, [(None, json_reward("e", 7.0, "r"))])  # out of range
                _wait_letters(bootstrap, sent)
            if rounds >= 10:
                note = _many(cluster, rng, rng.choice(records)[1], sent)
                sent = _MANY
        settle(cluster, load)
        _wait_dead(cluster, sent)
        counters = cluster.owner().counters(APP)
        assert counters["dead_messages"] == sent
        assert counters["copies_messages"] >= copies  # servers may have sent some again, too
        assert counters["out_of_range"] == rounds
        outcome = check(cluster, "poison in the topic", load)
        assert outcome.learned == load.rewards, "poison has kept others from being learned"
    outcome.injected = sent
    outcome.note = f"all counted as dead; {copies} records sent again, none counted twice{note}"
    return outcome


def _records(bootstrap: str) -> list[tuple[str, bytes]]:
    """Records of events that are in the topic, with their keys."""
    messages = [message.value for message in read_topic(bootstrap, TOPIC)]
    keys = [pb.Record.FromString(value).header.event_id for value in messages]
    return [(key, value) for key, value in zip(keys, messages, strict=True) if key]


def _key(rng: random.Random) -> str:
    return str(rng.random())  # any partition


def _many(cluster: Cluster, rng: random.Random, whole: bytes, sent: int) -> str:
    """Poison up to 100,000 messages. The follower takes no more memory for the last of them than for the first."""
    follower = cluster.owner()
    used: dict[int, int] = {}
    for count in range(_STEP, _MANY + 1, _STEP):
        bad: list[bytes | None] = []
        while len(bad) < count - sent:
            bad += _kinds(rng, whole)
        del bad[count - sent :]
        sent += produce(cluster.kafka.bootstrap, TOPIC, [(_key(rng), value) for value in bad])
        _wait_dead(cluster, sent)
        used[count] = _resident(follower.pids()["follower"])
    growth = used[_MANY] - used[_WARM]
    assert growth < _GROWTH, f"the follower has grown: {used}"
    return f"; the follower had {used[_WARM] >> 20} MB after {_WARM:,} and {used[_MANY] >> 20} MB after {_MANY:,}"


def _resident(pid: int) -> int:
    """Bytes of memory that the process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return 1024 * int(line.split()[1])


def _wait_dead(cluster: Cluster, count: int) -> None:
    def counted() -> bool:
        return cluster.owner().counters(APP)["dead_messages"] >= count

    eventually(f"{count} dead messages to be counted", counted)


def _wait_letters(bootstrap: str, count: int) -> None:
    """Waits until so many dead letters are there, each with its reason."""

    def there() -> bool:
        reasons = asyncio.run(_letters(bootstrap))
        assert all(reasons.values())
        return len(reasons) >= count

    eventually(f"{count} dead letters", there)


async def _letters(bootstrap: str) -> dict[bytes, bytes]:
    """Key -> reason of all dead letters."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    partition = TopicPartition(f"{TOPIC}.dead", 0)
    reasons = {}
    async with asyncio.timeout(60):
        await consumer.start()
        try:
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            while await consumer.position(partition) < end:
                for message in (await consumer.getmany(timeout_ms=500)).get(partition, []):
                    reasons[message.key] = dict(message.headers)["reason"]
        finally:
            await consumer.stop()
    return reasons
