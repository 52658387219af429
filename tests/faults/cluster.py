"""A cluster for faults: real Kafka, real Redis, servers and learners, each a service of its own processes and data folder."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Self

from rankd.v1.admin_pb2 import StatusRequest
from server.journal.store import JournalReader
from tests.server.harness import CALL, PATIENCE, Service, eventually, free_port
from tests.services.kafka import Kafka
from tests.services.proxy import Proxy
from tests.services.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

APP = "default"
TOPIC = f"rankd.{APP}"  # a topic is named PREFIX.APP
KEY = "5e" * 32
# What all servers listen by: `RANKD_TEST_EDGE=envoy python -m tests.faults` tries the other edge.
EDGE = os.environ.get("RANKD_TEST_EDGE", "grpcio")

# An app that learns on arrival: what is acknowledged is learned within a second, and never defaulted.
SETTINGS: dict[str, Any] = {
    "learner": {"checkpoint_every": 200},
    "kafka": {"partitions": 2, "node_lease": "30s", "learner_lease": "3s"},
    "apps": {APP: {"reward": {"min": 0, "always_sent": True}}},
}


class Cluster:
    """As a context manager it is started, and stopped at the end.

    Args:
        folder: everything is below it.
        settings: sections of rankd.yaml that all nodes have, over SETTINGS.
        servers, learners: how many nodes of each role; they are named server-0, learner-0 ...
        proxied: nodes that reach Kafka and Redis through `kafka_proxy` and `redis_proxy` only.
        own: sections of rankd.yaml that one node alone has, by its name, over the settings of all.
        environments: variables that one node's processes get, by its name.
        brokers: of Kafka; with three, each topic has three copies, two of which must have what is acknowledged.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        servers: int = 2,
        learners: int = 1,
        proxied: tuple[str, ...] = (),
        own: Mapping[str, Mapping[str, Any]] | None = None,
        environments: Mapping[str, Mapping[str, str]] | None = None,
        brokers: int = 1,
    ) -> None:
        self._folder = folder
        self._brokers = brokers
        self._settings = merged(SETTINGS, settings or {})
        self._names = [f"server-{i}" for i in range(servers)]
        self._names += [f"learner-{i}" for i in range(learners)]
        self._proxied = proxied
        self._own = dict(own or {})
        self._environments = dict(environments or {})
        self._addresses: dict[str, dict[str, Any]] = {}
        self._stack = contextlib.ExitStack()
        self.nodes: dict[str, Service] = {}

    def __enter__(self) -> Self:
        with self._stack:
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def _start(self) -> None:
        stack = self._stack
        self.redis = stack.enter_context(RedisServer(self._folder / "redis"))
        through: dict[str, str] = {}
        if self._proxied:
            # The broker tells its clients to come by way of the proxy.
            port = free_port()
            address = f"127.0.0.1:{port}"
            self.kafka = Kafka(self._folder / "kafka", proxied=address)
            listens = self.kafka.proxied_listen_port
            self.kafka_proxy = stack.enter_context(Proxy("127.0.0.1", listens, port))
            stack.enter_context(self.kafka)
            self.redis_proxy = stack.enter_context(Proxy("127.0.0.1", self.redis.port))
            through = {"kafka": address, "redis": f"redis://127.0.0.1:{self.redis_proxy.port}/0"}
        else:
            self.kafka = stack.enter_context(Kafka(self._folder / "kafka", brokers=self._brokers))
        for name in self._names:
            far = name in self._proxied
            self._addresses[name] = {
                "kafka": {"bootstrap": through["kafka"] if far else self.kafka.bootstrap},
                "redis": {"url": through["redis"] if far else self.redis.url, "key": KEY},
                "server": {"role": name.partition("-")[0], "edge": EDGE},
            }
            environment = self._environments.get(name)
            service = Service(self._folder / name, self.config(name), environment)
            self.nodes[name] = service
            stack.callback(service.stop)
            service.launch()
        self.wait_serving()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def config(self, name: str) -> dict[str, Any]:
        """A node's rankd.yaml."""
        config = merged(self._settings, self._own.get(name, {}))
        return merged(config, self._addresses[name])

    def change(self, settings: Mapping[str, Any]) -> None:
        """Other settings, which each node has from its next `restart` on."""
        self._settings = merged(self._settings, settings)

    def restart(self, name: str) -> None:
        """Stops a node in order (SIGTERM) and starts it with the settings of now; returns when it serves."""
        self.nodes[name].restart(self.config(name))

    @property
    def servers(self) -> list[Service]:
        return [node for name, node in self.nodes.items() if name.startswith("server")]

    @property
    def learners(self) -> list[Service]:
        return [node for name, node in self.nodes.items() if name.startswith("learner")]

    def wait_serving(self) -> None:
        """Waits until every node has all its processes, and its workers serve."""
        for node in self.nodes.values():
            node.wait_serving()

    def owner(self, app: str = APP) -> Service:
        """The learner that publishes the app's models."""

        def publishes() -> Service | None:
            for learner in self.learners:
                with contextlib.suppress(Exception):
                    status = learner.admin.Status(StatusRequest(app=app), timeout=CALL)
                    if status.owner and status.owner == folder_id(learner):
                        return learner
            return None

        return eventually(f"a learner that publishes app {app}", publishes)

    def wait_learned(
        self, decisions: int, rewards: int, seconds: float = 120.0, app: str = APP
    ) -> None:
        """Waits until the owner has folded that many Decision and Reward records."""

        def reached() -> bool:
            counters = self.owner(app).counters(app)
            return counters["decisions"] >= decisions and counters["rewards"] >= rewards

        eventually(f"{decisions} decisions and {rewards} rewards to be folded", reached, seconds)

    def wait_shipped(self, seconds: float = PATIENCE) -> None:
        """Waits until all that the nodes' journals have now is in Kafka, as their shippers say."""
        wanted = {}
        for name, node in self.nodes.items():
            with contextlib.closing(JournalReader(node.folder.journal)) as reader:
                wanted[name] = reader.bounds()[1]

        def behind() -> dict[str, int]:
            left = {name: last - shipped(self.nodes[name]) for name, last in wanted.items()}
            return {name: count for name, count in left.items() if count > 0}

        try:
            eventually("every journal to be in Kafka", lambda: not behind(), seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; records left: {behind()}") from None

    def stop(self) -> dict[str, int]:
        """Stops every node in order, servers first; returns their exit codes."""
        return {name: node.stop() for name, node in self.nodes.items()}


def shipped(node: Service) -> int:
    """The last record of the node's journal that its shipper knows to be in Kafka."""
    try:
        return int(json.loads(node.folder.shipped.read_bytes())["sequence"])
    except FileNotFoundError:
        return 0


def folder_id(node: Service) -> str:
    """UUID of the node's data folder."""
    with contextlib.closing(JournalReader(node.folder.journal)) as reader:
        return reader.folder()


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both; where they meet, what is above. A policy's settings are one whole."""
    both = dict(below)
    for name, value in above.items():
        old = both.get(name)
        if isinstance(old, dict) and isinstance(value, dict) and name != "policy":
            both[name] = merged(old, value)
        else:
            both[name] = value
    return both
