"""The services that other tests rely on start, keep what they are to keep, and break the way they are to break."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from tests.server.harness import REPOSITORY, eventually, free_port
from tests.services import jars
from tests.services.kafka import Kafka
from tests.services.proxy import Proxy
from tests.services.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aiokafka.structs import ConsumerRecord, RecordMetadata

    from tests.services.redis import RunningRedis
    from tests.services.running_kafka import RunningKafka

# Milliseconds for one request to a broker that may not answer.
REQUEST = 2_000
# Seconds to listen for a byte that must not come.
SILENCE = 0.3
LOG_APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}


def send(bootstrap: str, topic: str, value: bytes, seconds: float = 30.0) -> RecordMetadata:
    """Sends one record by an idempotent producer and waits until it is stored."""

    async def work() -> RecordMetadata:
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=REQUEST,
            max_request_size=8 << 20,
        )
        try:
            async with asyncio.timeout(seconds):
                await producer.start()
                return await producer.send_and_wait(topic, value, partition=0)
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(producer.stop(), 1)

    return asyncio.run(work())


def fetch(bootstrap: str, topic: str, offset: int = 0) -> ConsumerRecord[bytes, bytes]:
    """The record of partition 0 at that offset."""

    async def work() -> ConsumerRecord[bytes, bytes]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            request_timeout_ms=REQUEST,
            max_partition_fetch_bytes=8 << 20,
        )
        partition = TopicPartition(topic, 0)
        try:
            async with asyncio.timeout(30):
                await consumer.start()
                consumer.assign([partition])
                consumer.seek(partition, offset)
                return await consumer.getone()
        finally:
            await consumer.stop()

    return asyncio.run(work())


# -- Kafka -----------------------------------------------------------------------------------------


def test_kafka_gives_back_a_record_with_the_broker_s_time(kafka: RunningKafka) -> None:
    kafka.create_topic("log-append-time", config=LOG_APPEND_TIME)
    stored = send(kafka.bootstrap, "log-append-time", b"one")
    record = fetch(kafka.bootstrap, "log-append-time", stored.offset)
    assert record.value == b"one"
    assert record.timestamp_type == 1
    assert record.timestamp == stored.timestamp


def test_kafka_takes_records_of_several_megabytes(kafka: RunningKafka) -> None:
    kafka.create_topic("large")
    send(kafka.bootstrap, "large", b"x" * (5 << 20))
    assert fetch(kafka.bootstrap, "large").value == b"x" * (5 << 20)


def test_a_topic_exists_only_if_it_was_created(kafka: RunningKafka) -> None:
    with pytest.raises((KafkaError, TimeoutError)):
        send(kafka.bootstrap, "never-created", b"one", seconds=1)


@pytest.mark.usefixtures("can_start_kafka")
def test_kafka_survives_kill_pause_and_restart_with_its_data(tmp_path: Path) -> None:
    port = free_port()
    with Kafka(tmp_path / "kafka", proxied=f"127.0.0.1:{port}") as kafka:
        bootstrap = kafka.bootstrap
        kafka.create_topic("kept")
        send(bootstrap, "kept", b"before the kill")
        kafka.kill()
        assert kafka.broker_ids() == set()
        kafka.start()
        assert kafka.bootstrap == bootstrap
        assert fetch(bootstrap, "kept", 0).value == b"before the kill"

        kafka.pause()
        with pytest.raises((KafkaError, TimeoutError)):
            send(bootstrap, "kept", b"lost", seconds=1)
        kafka.resume()
        kafka.wait_ready()
        stored = send(bootstrap, "kept", b"after the pause")
        kafka.restart()
        assert fetch(bootstrap, "kept", stored.offset).value == b"after the pause"

        # Only clients that came through the proxy lose the broker with it.
        with Proxy("127.0.0.1", kafka.proxied_listen_port, port) as proxy:
            assert fetch(f"127.0.0.1:{port}", "kept", 0).value == b"before the kill"
            proxy.refuse()
            with pytest.raises((KafkaError, TimeoutError)):
                send(f"127.0.0.1:{port}", "kept", b"lost", seconds=1)
            assert fetch(bootstrap, "kept", 0).value == b"before the kill"


@pytest.mark.usefixtures("can_start_kafka")
def test_a_cluster_of_three_serves_on_when_the_leader_of_a_partition_is_killed(
    tmp_path: Path,
) -> None:
    with Kafka(tmp_path / "kafka", brokers=3) as kafka:
        kafka.create_topic("replicated", replication=3)
        send(kafka.bootstrap, "replicated", b"one")
        leader = kafka.leaders("replicated")[0]
        kafka.kill(leader)
        kafka.wait_ready()
        assert kafka.broker_ids() == {0, 1, 2} - {leader}
        stored = send(kafka.bootstrap, "replicated", b"two")
        assert fetch(kafka.bootstrap, "replicated", stored.offset).value == b"two"
        kafka.start(leader)
        assert kafka.broker_ids() == {0, 1, 2}


def test_the_mock_of_kafka_takes_idempotent_records_and_gives_them_back(mock_kafka: str) -> None:
    offsets = [send(mock_kafka, "mocked", b"%d" % i).offset for i in range(3)]
    assert offsets == [0, 1, 2]
    assert fetch(mock_kafka, "mocked", 1).value == b"1"


def test_no_java_or_maven_is_a_reason_and_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("RANKD_TEST_CACHE", str(tmp_path / "cache"))
    with pytest.raises(jars.UnavailableError, match=r"no java on PATH; run \.ci/"):
        jars.java()
    with pytest.raises(jars.UnavailableError, match="no mvn on PATH"):
        jars.kafka_jars()


# -- Redis -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def connected(server: RunningRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, socket_timeout=1, retry=None) as client:
        yield client


def test_redis_keeps_a_key_until_it_is_flushed(redis_server: RunningRedis) -> None:
    with connected(redis_server) as client:
        client.set("test_services:a", b"1")
        assert client.get("test_services:a") == b"1"
        redis_server.flush()
        assert client.get("test_services:a") is None


@pytest.mark.usefixtures("can_start_redis")
def test_redis_answers_again_after_pause_kill_and_restart(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server, connected(server) as client:
        url = server.url
        client.set("a", b"1")
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("a")
        server.resume()
        assert client.get("a") == b"1"
        server.kill()
        assert not server.answers()
        server.start()
        server.restart()
        assert server.url == url
        assert client.get("a") is None


@pytest.mark.usefixtures("can_start_redis")
def test_a_server_does_not_outlive_the_tests_that_started_it(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tests.services.redis import RedisServer
server = RedisServer(Path({str(tmp_path)!r}))
server.start()
print(server.url, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    port = int(done.stdout.strip().removesuffix("/0").rpartition(":")[2])

    def gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    eventually("the end of redis-server", gone)


# -- the proxy -------------------------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets, and ends when its client ends."""

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=[connection]))
                threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for thread in threads:
        thread.join()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", echo) as proxy:
        yield proxy


@contextlib.contextmanager
def connection(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as client:
        yield client


def says_back(client: socket.socket, data: bytes = b"hello") -> bool:
    client.sendall(data)
    return receive(client, len(data)) == data


def receive(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := client.recv(1 << 16)):
        data += more
    return data


def expect_silence(client: socket.socket) -> None:
    client.settimeout(SILENCE)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(20)


def test_the_proxy_passes_bytes_and_the_end_of_a_connection(proxy: Proxy) -> None:
    with connection(proxy) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 6) == b"hello"


def test_a_cut_is_silent_for_old_and_new_connections_and_loses_nothing(proxy: Proxy) -> None:
    with connection(proxy) as old:
        assert says_back(old)
        proxy.cut()
        with connection(proxy) as new:
            old.sendall(b"old")
            new.sendall(b"new")
            expect_silence(old)
            expect_silence(new)
            proxy.heal()
            assert receive(old, 3) == b"old"
            assert receive(new, 3) == b"new"


def test_refused_connections_are_reset_and_new_ones_work_after_healing(proxy: Proxy) -> None:
    with connection(proxy) as client:
        assert says_back(client)
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError), connection(proxy):
        pass
    proxy.heal()
    with connection(proxy) as client:
        assert says_back(client)


def test_a_reset_ends_the_connections_of_now_only(proxy: Proxy) -> None:
    with connection(proxy) as old:
        assert says_back(old)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            old.recv(1)
    with connection(proxy) as new:
        assert says_back(new)


def test_a_delay_holds_every_byte_back_each_way_and_changes_none(proxy: Proxy) -> None:
    with connection(proxy) as client:
        proxy.delay(0.1)
        began = time.monotonic()
        assert says_back(client)
        assert time.monotonic() - began >= 0.2
        large = bytes(range(256)) * (1 << 14)
        sending = threading.Thread(target=client.sendall, args=[large])
        sending.start()
        assert receive(client, len(large)) == large
        sending.join()
        proxy.heal()
        assert says_back(client)


def test_a_connection_is_reset_while_nobody_listens_behind_the_proxy() -> None:
    with (
        Proxy("127.0.0.1", free_port()) as proxy,
        pytest.raises(ConnectionResetError),  # perhaps before the connection is there
        connection(proxy) as client,
    ):
        client.recv(1)
