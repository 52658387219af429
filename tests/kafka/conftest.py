"""What several tests of Kafka start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kafka.follow import Cluster
from tests.server.harness import free_port
from tests.services.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.kafka import Kafka


@pytest.fixture
def breakable(can_start_kafka: None, tmp_path: Path) -> Iterator[tuple[Kafka, Proxy, Cluster]]:
    """A broker of its own, and a proxy before it for the follower alone."""
    from tests.services.kafka import Kafka

    port = free_port()
    with (
        Kafka(tmp_path / "kafka", proxied=f"127.0.0.1:{port}") as broker,
        Proxy("127.0.0.1", broker.proxied_listen_port, port) as proxy,
    ):
        yield broker, proxy, Cluster(broker, bootstrap=f"127.0.0.1:{port}")
