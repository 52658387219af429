"""Topics: made as a log needs them, once, whoever comes first; and refused where they cannot hold one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import confluent_kafka.admin
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from server.kafka.topics import TopicError, ensure
from tests.kafka.follow import Cluster
from tests.server.harness import free_port
from tests.services.kafka import Kafka
from tests.services.running_kafka import RunningKafka

if TYPE_CHECKING:
    from pathlib import Path

    from server.config import Config

confluent: Any = confluent_kafka.admin  # for access rules, which aiokafka cannot make; untyped

AS_NEEDED = {
    "message.timestamp.type": "LogAppendTime",
    "cleanup.policy": "delete",
    "max.message.bytes": str(8 << 20),
}


@pytest.fixture
def cluster(kafka: RunningKafka) -> Cluster:
    return Cluster(kafka)


def make(config: Config, *apps: str) -> None:
    asyncio.run(ensure(config, apps or ("shop",)))


def settings(cluster: Cluster, topic: str) -> dict[str, str]:
    async def work() -> dict[str, str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=cluster.kafka.bootstrap)
        await admin.start()
        try:
            asked = [ConfigResource(ConfigResourceType.TOPIC, topic)]
            (reply,) = await admin.describe_configs(asked)
            return {key: value for key, value, *_ in reply.resources[0][4]}
        finally:
            await admin.close()

    return asyncio.run(work())


def test_topics_are_made_as_a_log_needs_them(cluster: Cluster) -> None:
    make(cluster.config(partitions=3, retention="2h"), "shop", "bar")
    for app in ("shop", "bar"):
        topic = cluster.topic(app)
        assert len(cluster.kafka.leaders(topic)) == 3
        assert len(cluster.kafka.leaders(f"{topic}.dead")) == 1
        found = settings(cluster, topic)
        assert {key: found[key] for key in AS_NEEDED} == AS_NEEDED
        assert found["retention.ms"] == "7200000"
        assert found["retention.bytes"] == "-1"
        assert settings(cluster, f"{topic}.dead")["cleanup.policy"] == "compact,delete"


def test_several_nodes_may_make_them_at_once_and_again(cluster: Cluster) -> None:
    config = cluster.config(partitions=2)

    async def together() -> None:
        await asyncio.gather(*(ensure(config, ["shop", "bar"]) for _ in range(5)))
        await ensure(config, ["shop", "bar"])

    asyncio.run(together())
    assert len(cluster.kafka.leaders(cluster.topic())) == 2


def test_partitions_grow_also_by_several_nodes_at_once(cluster: Cluster) -> None:
    make(cluster.config(partitions=1))

    async def together() -> None:
        await asyncio.gather(*(ensure(cluster.config(partitions=4), ["shop"]) for _ in range(3)))

    asyncio.run(together())
    assert len(cluster.kafka.leaders(cluster.topic())) == 4


def test_partitions_never_shrink(cluster: Cluster) -> None:
    make(cluster.config(partitions=3))
    with pytest.raises(TopicError, match=r"has 3 partitions.*never shrink.*kafka\.partitions: 3"):
        make(cluster.config(partitions=2))
    # But a node that runs does not end because others were given more.
    asyncio.run(ensure(cluster.config(partitions=2), ["shop"], check=False))


@pytest.mark.parametrize(
    ("setting", "value", "what"),
    [
        ("message.timestamp.type", "CreateTime", "not stamped by the broker.*kafka-configs.sh"),
        ("cleanup.policy", "compact", "middle of the log.*kafka-configs.sh"),
        ("cleanup.policy", "compact,delete", "middle of the log.*kafka-configs.sh"),
        ("max.message.bytes", "1048588", "1048588 bytes.*max_record_bytes.*kafka-configs.sh"),
    ],
)
def test_a_topic_that_cannot_hold_a_log_is_refused(
    cluster: Cluster, setting: str, value: str, what: str
) -> None:
    cluster.kafka.create_topic(cluster.topic(), config={**AS_NEEDED, setting: value})
    with pytest.raises(TopicError, match=f"{cluster.topic()} .*{what}"):
        make(cluster.config())


def test_a_topic_that_takes_more_than_is_needed_will_do(cluster: Cluster) -> None:
    larger = {**AS_NEEDED, "max.message.bytes": str(16 << 20)}
    cluster.kafka.create_topic(cluster.topic(), config=larger)
    make(cluster.config())


def test_an_app_s_log_is_not_another_s_dead_letters(cluster: Cluster) -> None:
    with pytest.raises(TopicError, match="rename one of the apps"):
        make(cluster.config(), "shop", "shop.dead")


def test_a_name_that_kafka_does_not_take_is_told(cluster: Cluster) -> None:
    """Kafka keeps its metrics of a.b and a_b in one place, and so refuses the second."""
    make(cluster.config(), "a.b")
    with pytest.raises(TopicError, match=r"a_b cannot be made: InvalidTopic.*collides"):
        make(cluster.config(), "a_b")


def test_no_kafka_is_an_error_to_try_again_after() -> None:
    nobody = RunningKafka(f"127.0.0.1:{free_port()}")
    with pytest.raises(KafkaError):
        make(Cluster(nobody).config())


@pytest.mark.usefixtures("can_start_kafka")
def test_who_may_not_create_topics_needs_to_find_them(tmp_path: Path) -> None:
    authorizer = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with Kafka(tmp_path / "kafka", settings=authorizer) as kafka:
        cluster = Cluster(kafka)
        make(cluster.config(partitions=2))
        admin = confluent.AdminClient({"bootstrap.servers": kafka.bootstrap})

        def rule(kind: Any, name: str, operation: Any, permission: Any) -> Any:
            literal = confluent.ResourcePatternType.LITERAL
            return confluent.AclBinding(kind, name, literal, "User:*", "*", operation, permission)

        cluster_of, topic = confluent.ResourceType.BROKER, confluent.ResourceType.TOPIC
        allow, deny = confluent.AclPermissionType.ALLOW, confluent.AclPermissionType.DENY
        rules = [
            rule(cluster_of, "kafka-cluster", confluent.AclOperation.ALL, allow),
            rule(topic, "*", confluent.AclOperation.ALL, allow),
            rule(cluster_of, "kafka-cluster", confluent.AclOperation.CREATE, deny),
            rule(topic, "*", confluent.AclOperation.CREATE, deny),
            rule(topic, "*", confluent.AclOperation.ALTER, deny),
        ]
        for made in admin.create_acls(rules).values():
            made.result(30)
        make(cluster.config(partitions=2))
        with pytest.raises(
            TopicError, match=r"may not create them.*\n.*--create --topic .*new --part"
        ):
            make(cluster.config(partitions=2), "new")
        with pytest.raises(TopicError, match="may not add any"):
            make(cluster.config(partitions=3))
        unseen = rule(topic, "*", confluent.AclOperation.DESCRIBE_CONFIGS, deny)
        for made in admin.create_acls([unseen]).values():
            made.result(30)
        make(cluster.config(partitions=2))  # cannot see the settings, and says so in its log
