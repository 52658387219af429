"""Real Apache Kafka for tests: one broker or several, without ZooKeeper, each a process that can be killed and paused."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.server.harness import eventually, free_port
from tests.services.jars import java, kafka_jars
from tests.services.prepared import Prepared, prepared
from tests.services.process import ServerProcess
from tests.services.running_kafka import RunningKafka

if TYPE_CHECKING:
    from collections.abc import Mapping

# Bytes of a batch of records. rankd keeps far below it; a test of what is too large goes above.
MAX_MESSAGE = 16 << 20
# Any UUID; brokers of one cluster have the same.
_CLUSTER = "cmFua2QtdGVzdHMtMDAwMQ"
# Seconds that a broker may take to start: 4 on an idle machine, and over a minute on two cores with seven others.
_START = 180.0
# A small heap that still holds a few of the largest messages. The rest is for a quick start: no second compiler.
_JAVA = [
    "-Xms64m",
    "-Xmx384m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
]
_LOGGING = Path(__file__).with_name("log4j2.properties")

_SETTINGS = {
    "process.roles": "broker,controller",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "message.max.bytes": str(MAX_MESSAGE),
    "replica.fetch.max.bytes": str(MAX_MESSAGE),
    # A broker that was killed can register again only when its session is over, so the default of 9 s is what
    # a restart would take. The leader of a partition moves as late after its broker's end.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Fewer threads and smaller buffers than for a broker with a machine of its own.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "log.cleaner.dedupe.buffer.size": str(4 << 20),
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
}


def _free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return sorted(ports)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def _prepare(folder: Path, made: Prepared) -> None:
    """Formats by Kafka's own tool, and has a broker write its classes down at its end."""
    with Kafka(folder / "kafka", making=made) as kafka:
        kafka.create_topic("any")
        kafka.stop()


class Kafka(RunningKafka):
    """A cluster of our own. As a context manager it is started, and killed at the end, since nobody needs its data then.

    Every broker is also a controller, so a cluster of three lives on without any one of them. Brokers are named by their
    number, from 0; a method that takes numbers means all of them when it is given none. No more than a minority may be down
    when one is started, or nobody is there to let it in.

    Args:
        folder: for data, configuration and logs; it is made if it is not there. Data is used again that is there.
        brokers: how many.
        proxied: the host:port of a proxy. The broker then has a second listener, `proxied_listen_port`, for the proxy
            to forward to: clients that come that way are told to find the broker at the proxy, and all others are not.
        settings: of the brokers, in addition to ours.
        making: what this one is to make, for all later ones to begin with.

    Raises:
        UnavailableError: there is no Java, or the jars cannot be fetched.
    """

    def __init__(
        self,
        folder: Path,
        *,
        brokers: int = 1,
        proxied: str = "",
        settings: Mapping[str, str] | None = None,
        making: Prepared | None = None,
    ) -> None:
        if proxied and brokers > 1:
            raise ValueError("a proxy stands before one broker: give brokers=1")
        self._java = [java(), *_JAVA, f"-Dlog4j2.configurationFile={_LOGGING}"]
        self._java += ["-cp", f"{kafka_jars()}/*"]
        self._making = making
        if making is not None:
            classes = f"-XX:ArchiveClassesAtExit={making.classes}"
        else:
            self._prepared = prepared(_prepare)
            classes = f"-XX:SharedArchiveFile={self._prepared.classes}"
        self._proxied = proxied
        self.proxied_listen_port, *ports = _free_ports(1 + 2 * brokers)
        self._ports, self._controllers = ports[:brokers], ports[brokers:]
        self._folders = [folder / f"broker-{i}" for i in range(brokers)]
        self._settings = self._common(brokers) | dict(settings or {})
        self._processes = [
            ServerProcess(
                f"Kafka broker {i}",
                self._command(home, classes, "kafka.Kafka"),
                home / "broker.log",
            )
            for i, home in enumerate(self._folders)
        ]
        super().__init__(",".join(f"127.0.0.1:{port}" for port in self._ports))

    def _common(self, brokers: int) -> dict[str, str]:
        replication = str(min(brokers, 3))
        insync = str(min(brokers, 2))
        return _SETTINGS | {
            "controller.quorum.voters": ",".join(
                f"{i}@127.0.0.1:{port}" for i, port in enumerate(self._controllers)
            ),
            "default.replication.factor": replication,
            "min.insync.replicas": insync,
            "offsets.topic.replication.factor": replication,
            "transaction.state.log.replication.factor": replication,
            "transaction.state.log.min.isr": insync,
            "share.coordinator.state.topic.replication.factor": replication,
            "share.coordinator.state.topic.min.isr": insync,
        }

    def _command(self, home: Path, *main: str) -> list[str]:
        # Compression libraries unpack themselves into the folder for temporary files.
        program = [*self._java, f"-Djava.io.tmpdir={home}"]
        return [*program, *main, str(home / "server.properties")]

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *brokers: int) -> None:
        """Starts brokers and waits until every one that runs is listed by a metadata request."""
        self._format()
        for process in self._chosen(brokers):
            process.start()
        self.wait_ready()

    def wait_ready(self, seconds: float = _START) -> None:
        """Waits until the cluster lists the brokers that run and no others, so none that was killed a moment ago.

        A paused broker counts as one that runs: resume it first.
        """
        expected = {i for i, process in enumerate(self._processes) if process.running}

        def ready() -> bool:
            for process in self._processes:
                process.check()
            # Not aiokafka at once: it logs an error for every attempt to reach a broker that is not there yet.
            if not all(_listens(self._ports[i]) for i in expected):
                return False
            return self.broker_ids() == expected

        try:
            eventually(f"brokers {sorted(expected)} to be listed", ready, seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.tail()}") from None

    def stop(self, *brokers: int) -> None:
        """Orderly stop: leaders move away first. All brokers at once take 5 s, as the last ones have nobody left."""
        chosen = [process for process in self._chosen(brokers) if process.running]
        for process in chosen:
            process.terminate()
        for process in chosen:
            process.stop()

    def kill(self, *brokers: int) -> None:
        """SIGKILL."""
        for process in self._chosen(brokers):
            process.kill()

    def restart(self, *brokers: int) -> None:
        """Orderly stop, and start on the same port and data. After kill() it is start() that does the same."""
        self.stop(*brokers)
        self.start(*brokers)

    def pause(self, *brokers: int) -> None:
        """SIGSTOP: connections stay, and nothing answers."""
        for process in self._chosen(brokers):
            process.pause()

    def resume(self, *brokers: int) -> None:
        """SIGCONT."""
        for process in self._chosen(brokers):
            process.resume()

    # -- for tests to look at ----------------------------------------------------------------------

    @property
    def log(self) -> Path:
        """What the first broker has logged."""
        return self._processes[0].log

    def pid(self, broker: int = 0) -> int:
        return self._processes[broker].pid

    def tail(self) -> str:
        """The end of every broker's log."""
        return "\n".join(f"-- {p.name}\n{p.tail()}" for p in self._processes)

    # -- parts -------------------------------------------------------------------------------------

    def _chosen(self, brokers: tuple[int, ...]) -> list[ServerProcess]:
        return [self._processes[i] for i in brokers] if brokers else self._processes

    def _format(self) -> None:
        """Writes the configuration of every broker and makes its data folder, if it has none."""
        for i, home in enumerate(self._folders):
            home.mkdir(parents=True, exist_ok=True)
            properties = home / "server.properties"
            properties.write_text("".join(f"{k}={v}\n" for k, v in self._properties(i).items()))
            data = home / "data"
            if data.exists():
                continue
            if self._making is None:
                self._prepared.format(data, i)
            else:
                self._format_by_tool(home)
                self._making.keep(data)

    def _format_by_tool(self, home: Path) -> None:
        tool = ("kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c")
        done = subprocess.run(
            self._command(home, *tool),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_START,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's folder could not be made: {done.stdout}")

    def _properties(self, broker: int) -> dict[str, str]:
        listeners = [
            f"CLIENT://127.0.0.1:{self._ports[broker]}",
            f"CONTROLLER://127.0.0.1:{self._controllers[broker]}",
        ]
        advertised = listeners[:]
        if self._proxied:
            listeners.append(f"PROXIED://127.0.0.1:{self.proxied_listen_port}")
            advertised.append(f"PROXIED://{self._proxied}")
        return {
            "node.id": str(broker),
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(advertised),
            "log.dirs": str(self._folders[broker] / "data"),
        } | self._settings
