"""The real service, as `rankd serve` runs it, in processes of its own; stopped when the demo ends, however it ends.

`python -m rankd.demo.service DATA_DIR CONFIG` is the process that supervises the others. It stops when its standard
input ends, which is when the demo has gone, even by kill -9.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

# Seconds until the service must serve. It takes 2 to 3 on two slow cores; 20 times that is no start any more.
_START_SECONDS = 60.0
# Seconds between two looks at a service that is starting.
_LOOK_SECONDS = 0.05
# Seconds until a service that was told to stop is killed: it has 10 to finish calls, and its children 5 beyond.
_STOP_SECONDS = 20.0
# Lines of the service's own log that are shown when it fails.
_TAIL = 8


class ServiceFailedError(Exception):
    """The service did not start, or ended by itself; the message holds the end of its log."""


class Service:
    """A service on one data folder, on a free port.

    with Service(folder, folder / "rankd.yaml") as service:
        address = service.wait()
    """

    def __init__(self, data: Path, config: Path) -> None:
        self._data = data
        self._config = config
        self._log = data / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Settings from the environment go before the file, and those are for the user's own service.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("RANKD_") or name == "RANKD_LOG_LEVEL"
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own module
                [sys.executable, "-m", __name__, str(self._data), str(self._config)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops the service
            )
        return self

    def wait(self) -> str:
        """Waits until the service serves; returns its address.

        Raises:
            ServiceFailedError: it ended, or does not come up.
        """
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        from rankd.base import CHANNEL_OPTIONS

        deadline = time.monotonic() + _START_SECONDS
        asked = health_pb2.HealthCheckRequest(service="rankd.v1.Decisions")
        address = self._announced(deadline)
        with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while True:
                self._look(deadline)
                try:
                    reply = health.Check(asked, timeout=1.0, wait_for_ready=True)
                except grpc.RpcError:
                    continue
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    return address
                time.sleep(_LOOK_SECONDS)

    def _announced(self, deadline: float) -> str:
        """The address in the file that the supervisor writes."""
        while True:
            self._look(deadline)
            try:
                service = json.loads((self._data / "run" / "service.json").read_bytes())
            except FileNotFoundError:
                time.sleep(_LOOK_SECONDS)
            else:
                return f"{service['host']}:{service['port']}"

    def _look(self, deadline: float) -> None:
        self.check()
        if time.monotonic() > deadline:
            raise self.failed(f"the service did not start in {_START_SECONDS:.0f} s")

    def check(self) -> None:
        """Does nothing while the service runs.

        Raises:
            ServiceFailedError: it has ended.
        """
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise self.failed(f"the service ended with code {code}")

    def failed(self, what: str) -> ServiceFailedError:
        """The error that tells what happened, and what the service's log says last."""
        lines = self._log.read_text("utf-8", "replace").splitlines()[-_TAIL:]
        return ServiceFailedError("\n  ".join([what, *lines]))

    def stop(self) -> None:
        """Lets it finish running calls and stop.

        Raises:
            ServiceFailedError: it had ended by itself, or had to be killed.
        """
        self.check()
        if self._end() != 0:
            raise self.failed("the service did not stop in order")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> int | None:
        """Stops it if it runs; returns its exit code. Nothing of it is left, whatever comes in between."""
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            process.terminate()
            return process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()  # does nothing to one that has ended; its children go when it does
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def main() -> int:
    """Supervises one service until SIGTERM, or until standard input ends."""
    from server import logs
    from server.config_file import load
    from server.files import DataFolder
    from server.supervisor import Supervisor

    data, config = map(Path, sys.argv[1:3])
    logs.configure("supervisor")
    supervisor = Supervisor(load(config, {"server": {"port": 0}}), DataFolder(data))

    async def supervise() -> int:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), supervisor.stop)
        return await supervisor.run()

    return asyncio.run(supervise())


if __name__ == "__main__":
    sys.exit(main())
