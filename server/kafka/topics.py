"""The topics of the apps: makes those that are missing, and refuses those in which a log would not be one.

PREFIX.APP has the app's records, stamped by the broker, for as long as `kafka.retention` says. PREFIX.APP.dead has what
could not be read. Nothing of a topic that exists is changed but its number of partitions, which may grow.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidPartitionsError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from server.kafka.ending import end
from server.sections import microseconds

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from server.config import Config

log = structlog.get_logger("topics")

# Bytes: what a dead letter's headers may add to the message that it holds.
_DEAD_ROOM = 1 << 16
# Seconds between two looks for a topic that has just been made.
_LOOK_SECONDS = 0.1
# Seconds for closing connections.
_CLOSE_SECONDS = 2.0
# Requests, one after the other, that `ensure` may need, connecting to one broker included.
_REQUESTS = 4
_FORBIDDEN = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)


class TopicError(Exception):
    """A topic cannot hold a log as it is, or cannot be made. Says which one, why, and what to do."""


@dataclass(frozen=True, slots=True)
class _Topic:
    """What a topic should be."""

    name: str
    partitions: int
    settings: dict[str, str]


async def ensure(config: Config, apps: Collection[str], check: bool = True) -> None:
    """Makes the topics of these apps where they are missing, and waits until they can be written to.

    Several nodes may do so at once. Who may not create topics needs to find them there.

    Args:
        check: also look at the partitions and settings of those that exist. Somebody else may have added partitions
            since this process has started: no reason to end it.

    Raises:
        TopicError: somebody has to do something.
        KafkaError, OSError, TimeoutError: Kafka is away, or slow; try again.
    """
    timeout = config.kafka.timeout.total_seconds()
    bound = timeout * (_REQUESTS + config.kafka.bootstrap.count(","))
    admin = AIOKafkaAdminClient(
        bootstrap_servers=config.kafka.bootstrap, request_timeout_ms=int(1000 * timeout)
    )
    try:
        async with asyncio.timeout(bound):
            await admin.start()
            await _ensure(admin, config, sorted(apps), check)
    finally:
        await end(admin.close(), _CLOSE_SECONDS)


async def _ensure(admin: AIOKafkaAdminClient, config: Config, apps: list[str], check: bool) -> None:
    wanted = {app: _wanted(config, app) for app in apps}
    dead = {app: _dead(config, app) for app in apps}
    twice = {topic.name for topic in wanted.values()} & {topic.name for topic in dead.values()}
    if twice:
        raise TopicError(
            f"topic {min(twice)} would be the log of one app and the dead letters of another: rename one of the apps"
        )
    topics = [*wanted.values(), *dead.values()]
    there = await _partitions(admin)
    missing = [topic for topic in topics if topic.name not in there]
    if missing:
        await _create(admin, missing, config.kafka.replication)
        # Another node may be making them, with fewer partitions than it is told here.
        await _settled(admin, {topic.name: 1 for topic in missing})
    if not check:
        return
    await _grow(admin, list(wanted.values()), await _partitions(admin))
    await _check(admin, list(wanted.values()))


def _wanted(config: Config, app: str) -> _Topic:
    kafka = config.kafka
    settings = {
        # Order and time of the log are the broker's: nobody else's clock counts.
        "message.timestamp.type": "LogAppendTime",
        "cleanup.policy": "delete",
        "max.message.bytes": str(kafka.max_record_bytes),
        "retention.ms": str(microseconds(kafka.retention) // 1000),
        "retention.bytes": "-1",
    }
    return _Topic(config.topic(app), kafka.partitions, settings)


def _dead(config: Config, app: str) -> _Topic:
    log_settings = _wanted(config, app).settings
    settings = {
        # A letter that is sent again has the same key.
        "cleanup.policy": "compact,delete",
        "max.message.bytes": str(config.kafka.max_record_bytes + _DEAD_ROOM),
        "retention.ms": log_settings["retention.ms"],
        "retention.bytes": "-1",
    }
    return _Topic(f"{config.topic(app)}.dead", 1, settings)


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, list[Any]]:
    """Partitions of all topics. Asked of all, because a broker may create one that it is asked for by name."""
    return {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}


async def _settled(admin: AIOKafkaAdminClient, counts: Mapping[str, int]) -> None:
    """Waits until these topics have so many partitions, and all of them a leader."""

    def ready(partitions: list[Any], count: int) -> bool:
        return len(partitions) >= count and all(each["leader"] >= 0 for each in partitions)

    while True:
        there = await _partitions(admin)
        if all(ready(there.get(name, []), count) for name, count in counts.items()):
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _create(admin: AIOKafkaAdminClient, topics: list[_Topic], replication: int) -> None:
    # An empty mapping of replicas lets -1 through, which leaves the number of copies to the broker; with a number there
    # must be none.
    replicas: dict[int, list[int]] | None = {} if replication == -1 else None
    new = [NewTopic(t.name, t.partitions, replication, replicas, t.settings) for t in topics]
    reply = await admin.create_topics(new)
    forbidden = set()
    for name, code, *message in reply.topic_errors:
        error = for_code(code)
        if not code:
            log.info("made a topic", topic=name)
        elif issubclass(error, _FORBIDDEN):
            forbidden.add(name)
        elif error is not TopicAlreadyExistsError:  # another node was quicker
            raise _cannot(f"topic {name} cannot be made", error, message)
    if forbidden:
        raise TopicError(
            "these topics do not exist, and rankd may not create them; allow it to, or create them:"
            + "".join(_by_hand(topic) for topic in topics if topic.name in forbidden)
        )


def _by_hand(topic: _Topic) -> str:
    settings = "".join(f" --config {key}={value}" for key, value in topic.settings.items())
    return (
        f"\nkafka-topics.sh --create --topic {topic.name} --partitions {topic.partitions}{settings}"
    )


async def _grow(
    admin: AIOKafkaAdminClient, topics: list[_Topic], there: dict[str, list[Any]]
) -> None:
    few: dict[str, int] = {}
    for topic in topics:
        count = len(there[topic.name])
        if count > topic.partitions:
            raise TopicError(
                f"topic {topic.name} has {count} partitions, kafka.partitions is {topic.partitions}: partitions may grow, "
                f"never shrink, since records that belong together would part. Set kafka.partitions: {count}"
            )
        if count < topic.partitions:
            few[topic.name] = topic.partitions
    if not few:
        return
    try:
        await admin.create_partitions({name: NewPartitions(count) for name, count in few.items()})
        log.info("added partitions", topics=sorted(few))
    except _FORBIDDEN as error:
        raise TopicError(
            f"topics {sorted(few)} have fewer partitions than kafka.partitions, and rankd may not add any. Allow it to "
            "ALTER them, or use kafka-topics.sh --alter --partitions"
        ) from error
    except InvalidPartitionsError:
        pass  # another node was quicker
    await _settled(admin, few)


async def _check(admin: AIOKafkaAdminClient, topics: list[_Topic]) -> None:
    """Whether records in these topics are stamped by the broker, are large enough, and go by age alone."""
    keys = dict.fromkeys(("message.timestamp.type", "cleanup.policy", "max.message.bytes"), "")
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic.name, keys) for topic in topics]
    expected = {topic.name: topic.settings for topic in topics}
    for reply in await admin.describe_configs(asked):
        for code, message, _, name, entries in reply.resources:
            if issubclass(for_code(code), _FORBIDDEN):
                log.warning(
                    "cannot see the settings of a topic: rankd needs DESCRIBE_CONFIGS", topic=name
                )
                continue
            if code:
                raise _cannot(
                    f"the settings of topic {name} cannot be read", for_code(code), [message]
                )
            found = {key: value for key, value, *_ in entries}
            for key, value in found.items():
                _compare(name, key, value, expected[name][key])


def _compare(topic: str, key: str, found: str, expected: str) -> None:
    size = key == "max.message.bytes"
    if found == expected or (size and int(found) >= int(expected)):
        return
    change = f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {key}={expected}"
    if size:
        raise TopicError(
            f"topic {topic} takes messages of {found} bytes, kafka.max_record_bytes is {expected}: lower that, or: {change}"
        )
    if key == "cleanup.policy":
        raise TopicError(
            f"topic {topic} has {key}={found}: that removes records from the middle of the log. If it is a new topic: "
            f"{change}. Else begin a new log, with another kafka.prefix"
        )
    raise TopicError(
        f"topic {topic} has {key}={found}: its records are not stamped by the broker, so they have no common order. If it "
        f"is empty: {change}. Else begin a new log, with another kafka.prefix"
    )


def _cannot(what: str, error: type[KafkaError], message: list[str]) -> Exception:
    text = f"{what}: {error.__name__} {' '.join(filter(None, message))}"
    return error(text) if error.retriable else TopicError(text)
