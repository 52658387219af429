"""The real service for tests: its own processes, on a data folder and a port of its own, spoken to by generated code only."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rankd.v1 import admin_pb2, internal_pb2
from rankd.v1 import log_pb2 as pb
from rankd.v1.admin_pb2_grpc import AdminStub
from rankd.v1.decisions_pb2_grpc import DecisionsStub
from server.config_file import load
from server.files import DataFolder
from server.fold.envelope import unseal
from server.fold.verify import Verification, verify
from server.learning.source import FolderSource
from server.supervisor import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from server.fold.records import LogRecord

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]
# Seconds for anything that takes one or two on an idle machine. Only a failing test waits so long.
PATIENCE = 60.0
# Seconds that one call may take.
CALL = 20.0
# Below the range that Linux takes outgoing ports from: while a service with a fixed port is down, no connection
# attempt of a client can take its port.
_PORTS = range(20_000, 32_000)
# Ports that one test process has for itself: for as many services as it may have at a time, and to spare.
_BLOCK = 300


def eventually(what: str, probe: Callable[[], T | None], seconds: float = PATIENCE) -> T:
    """The first true value that `probe` returns, which is asked again and again.

    Raises:
        TimeoutError: none came; says what was waited for, and the last value.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s; the last answer was {value!r}")
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens on, and no other test process takes: also while its service is down, or not up yet.

    Else a test's clients would find the services of another test that runs at the same time.
    """
    for port in islice(_ports(), _BLOCK):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


@cache
def _ports() -> Iterator[int]:
    """This process's ports, one after the other, over and over. A file's lock keeps them until the process ends."""
    folder = Path(tempfile.gettempdir()) / f"rankd-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in range(_PORTS.start, _PORTS.stop, _BLOCK):
        descriptor = os.open(folder / str(first), os.O_CREAT | os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            # Not the same one first each time: services of tests that were killed may still try to reach theirs.
            return islice(cycle(range(first, first + _BLOCK)), os.getpid() * 97 % _BLOCK, None)
    raise OSError(f"other test processes hold all the ports: see {folder}")


class Service:
    """One service. As a context manager it is started, and stopped or killed at the end.

    Args:
        folder: the data folder; the configuration and the log of the processes stand beside it.
        config: rankd.yaml as a mapping.
        environment: variables that its processes get in addition to the tests' own.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = DataFolder(folder)
        self.log = folder.with_name(f"{folder.name}.log")
        self.port = free_port()
        self._config = dict(config or {})
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._roles: set[str] = set()  # processes that it has when all is well
        self._channels: list[grpc.Channel] = []
        self._killed: set[int] = set()
        self._serving: set[int] = set()  # pids of workers that said so last
        self._read = 0  # bytes of the log that `_serving` knows

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException as error:
            error.add_note(f"log of {self.folder.root.name}:\n{self.tail()}")
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _hang_up(self) -> None:
        for channel in self._channels:
            channel.close()
        self._channels.clear()

    def start(self, config: Mapping[str, Any] | None = None) -> None:
        """Starts the service and waits until every worker serves."""
        self.launch(config)
        self.wait_serving()

    def launch(self, config: Mapping[str, Any] | None = None) -> None:
        """Starts the service without waiting for it."""
        if config is not None:
            self._config = dict(config)
        server = {**self._config.get("server", {}), "port": self.port}
        path = self.folder.root.with_name(f"{self.folder.root.name}.yaml")
        path.write_text(yaml.safe_dump({**self._config, "server": server}))
        self._roles = {name for stage in children(load(path)) for name in stage}
        self.folder.service.unlink(missing_ok=True)
        self._read = self.log.stat().st_size if self.log.exists() else 0
        self._serving.clear()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RANKD_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.server.serve", str(self.folder.root), str(path)],
                cwd=REPOSITORY,
                env=environment | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.channel = self.connect()
        self.decisions = DecisionsStub(self.channel)  # type: ignore[no-untyped-call]
        self.admin = AdminStub(self.channel)  # type: ignore[no-untyped-call]
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def wait_serving(self, seconds: float = PATIENCE) -> None:
        """Waits until all processes are there that are to be, and every worker serves."""
        eventually("the service to serve", self._all_serve, seconds)

    def stop(self) -> int:
        """SIGTERM, and waits for the end; returns the exit code. May be called again."""
        self._hang_up()  # a server waits a second for clients that are connected but silent
        if self._process is None:
            return 0
        self.terminate()
        return self.wait_stopped()

    def terminate(self) -> None:
        """SIGTERM, and nothing else."""
        assert self._process is not None
        self._process.terminate()

    def wait_stopped(self) -> int:
        """Waits for the supervisor's end; returns its exit code."""
        assert self._process is not None
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise TimeoutError(f"the service did not stop; its log ends:\n{self.tail()}") from None
        self._process = None
        return code

    def restart(self, config: Mapping[str, Any] | None = None) -> None:
        """Stops and starts again, on the same port."""
        assert self.stop() == 0
        self.start(config)

    def kill9(self, role: str) -> None:
        """SIGKILL for one process: "supervisor", "writer", "learner" or "worker-0"."""
        pid = self.pids()[role]
        self._killed.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if role == "supervisor":
            assert self._process is not None
            self._process.wait()
            self._process = None

    def kill_all(self) -> None:
        """SIGKILL for the supervisor and all its children, at once as far as they can tell: a child that saw the supervisor
        die would say farewell to the others.
        """
        pids = self.pids()
        supervisor = pids.pop("supervisor", None)
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._killed |= {*pids.values(), *([supervisor] if supervisor else [])}
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, role: str, number: signal.Signals) -> None:
        os.kill(self.pids()[role], number)

    def pids(self) -> dict[str, int]:
        """Role -> process id, as far as the supervisor has started them."""
        try:
            pids: dict[str, int] = json.loads(self.folder.service.read_bytes())["pids"]
        except FileNotFoundError:
            return {}
        return pids

    def tail(self, size: int = 5_000) -> str:
        """The end of what the processes have logged."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def _all_serve(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(
                f"the service ended with code {self._process.returncode}:\n{self.tail()}"
            )
        pids, roles = self.pids(), self._roles
        if not roles <= pids.keys() or self._killed & set(pids.values()):
            return False
        self._follow_log()
        if not {pids[role] for role in roles if role.startswith("worker")} <= self._serving:
            return False
        with contextlib.suppress(grpc.RpcError):
            request = health_pb2.HealthCheckRequest()
            reply = self.health.Check(request, timeout=5, wait_for_ready=True)
            return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
        return False

    def _follow_log(self) -> None:
        with self.log.open("rb") as log:
            log.seek(self._read)
            lines = log.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                entry = json.loads(line)
                if entry.get("event") == "serving":
                    self._serving.add(entry["pid"])
                elif entry.get("event") == "not serving":
                    self._serving.discard(entry["pid"])

    # -- calls -------------------------------------------------------------------------------------

    def connect(self) -> grpc.Channel:
        """A connection of its own; with several workers the system picks one of them for it."""
        options = (
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.max_send_message_length", 64 << 20),
            ("grpc.max_receive_message_length", 64 << 20),
        )
        channel = grpc.insecure_channel(f"127.0.0.1:{self.port}", options)
        self._channels.append(channel)
        return channel

    def status(self, app: str = "") -> admin_pb2.StatusReply:
        """The learner's own report; it is up to half a second old."""

        def ask() -> admin_pb2.StatusReply | None:
            try:
                request = admin_pb2.StatusRequest(app=app)
                reply: admin_pb2.StatusReply = self.admin.Status(request, timeout=CALL)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.UNAVAILABLE:
                    return None  # it has not reported yet
                raise
            return reply

        return eventually("the learner's report", ask)

    def wait_served(self, sequence: int, app: str = "default") -> None:
        """Waits until the model that answers has seen the log up to there."""

        def reached() -> bool:
            reply = self.admin.Apps(admin_pb2.AppsRequest(), timeout=CALL)
            return any(a.name == app and a.model_version >= sequence for a in reply.apps)

        eventually(f"a model with record {sequence}", reached)

    def counters(self, app: str = "") -> dict[str, int]:
        status = self.status(app)
        return dict(zip(status.counter_names, status.counter_values, strict=True))

    def wait_counters(self, app: str = "", **expected: int) -> dict[str, int]:
        """Waits until the named counters have these values."""

        def reached() -> dict[str, int] | None:
            counters = self.counters(app)
            return counters if counters.items() >= expected.items() else None

        try:
            return eventually(f"counters {expected}", reached, 30)
        except TimeoutError:
            raise AssertionError(f"expected {expected}, found {self.counters(app)}") from None

    def wait_folded(self, sequence: int, app: str = "") -> admin_pb2.StatusReply:
        """Waits until the learner has folded the log up to there."""

        def reached() -> admin_pb2.StatusReply | None:
            status = self.status(app)
            return status if status.folded_records >= sequence else None

        return eventually(f"record {sequence} to be folded", reached)

    # -- the log and the model ---------------------------------------------------------------------

    def records(self, kind: pb.Kind | None = None, after: int = 0) -> list[LogRecord]:
        """Records of the journal as it is now; of one kind, if given."""
        with contextlib.closing(FolderSource(self.folder)) as source:
            return [r for r in source.records(after) if kind is None or r.kind == kind]

    def kinds(self) -> Counter[str]:
        """How many records there are of each kind; ticks are left out, as they come by themselves."""
        return Counter(pb.Kind.Name(r.kind) for r in self.records() if r.kind != pb.KIND_TICK)

    def verify(self) -> Verification:
        with contextlib.closing(FolderSource(self.folder)) as source:
            return verify(source)

    def published(self, app: str = "default") -> internal_pb2.Snapshot:
        """The model that is served."""
        return unseal(internal_pb2.Snapshot, self.folder.snapshot(app).read_bytes())
