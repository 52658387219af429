"""Services that tests share, as a pytest plugin. Where one cannot be started, the tests that need it are skipped.

RANKD_TEST_REQUIRE_SERVICES=1   such tests fail instead
RANKD_TEST_KAFKA=host:port      use this Kafka instead of starting one
RANKD_TEST_REDIS=redis://...    use this Redis instead of starting one

A test that breaks its service starts one of its own, `Kafka(tmp_path / "kafka")` or `RedisServer(tmp_path / "redis")`, and
says so by `@pytest.mark.usefixtures("can_start_kafka")` or `"can_start_redis"`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.services.jars import UnavailableError, java, kafka_jars

# The modules that need Kafka's and Redis' clients are imported where they are used, so that a run of other tests does
# not load them.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.services.redis import RunningRedis
    from tests.services.running_kafka import RunningKafka


def _require(check: Callable[[], object]) -> None:
    """Skips or fails the test if the check says that something is unavailable."""
    try:
        check()
    except UnavailableError as error:
        reason = str(error)
    else:
        return
    if os.environ.get("RANKD_TEST_REQUIRE_SERVICES") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def can_start_kafka() -> None:
    """Says that the test starts Kafka itself."""
    _require(java)
    _require(kafka_jars)


@pytest.fixture(scope="session")
def can_start_redis() -> None:
    """Says that the test starts redis-server itself."""
    from tests.services.redis import redis_program

    _require(redis_program)


@pytest.fixture(scope="session")
def kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningKafka]:
    """A broker for all tests that do not break it. Each test makes topics of its own."""
    from tests.services.kafka import Kafka
    from tests.services.running_kafka import RunningKafka

    address = os.environ.get("RANKD_TEST_KAFKA")
    if address:
        running = RunningKafka(address)
        if not running.broker_ids():
            pytest.fail(f"RANKD_TEST_KAFKA={address} does not answer", pytrace=False)
        yield running
        return
    request.getfixturevalue("can_start_kafka")
    with Kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def redis_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningRedis]:
    """A Redis for all tests that do not break it. Each test has a prefix of its own for its keys, or flushes first."""
    from tests.services.redis import RedisServer, RunningRedis

    address = os.environ.get("RANKD_TEST_REDIS")
    if address:
        running = RunningRedis(address)
        if not running.answers():
            pytest.fail(f"RANKD_TEST_REDIS={address} does not answer", pytrace=False)
        yield running
        return
    request.getfixturevalue("can_start_redis")
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def mock_kafka() -> Iterator[str]:
    """The host:port of librdkafka's mock of a broker, which needs no Java and begins empty.

    It knows producing (also idempotent), fetching by assign and seek, and topics that come by being written to. It does
    not know create_topics, offsets by time, groups of two members, or what transactions mean.
    """
    from confluent_kafka.admin import AdminClient

    # The mock lives inside this client and ends with it.
    client = AdminClient({"test.mock.num.brokers": "1"})
    (broker,) = client.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del client
