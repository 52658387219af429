"""A real redis-server for tests: a process that keeps nothing on disk and can be killed and paused."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Self

import redis

from tests.server.harness import PATIENCE, eventually, free_port
from tests.services.jars import UnavailableError
from tests.services.process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

# Seconds for one command of the helpers here.
_COMMAND = 5.0


def redis_program() -> str:
    """The path of redis-server: RANKD_TEST_REDIS_SERVER, or the one on PATH.

    Raises:
        UnavailableError: there is none.
    """
    wanted = os.environ.get("RANKD_TEST_REDIS_SERVER") or "redis-server"
    program = shutil.which(wanted)
    if program is None:
        raise UnavailableError(
            f"there is no {wanted}; run .ci/install-services, or set RANKD_TEST_REDIS_SERVER to the "
            "program's path or RANKD_TEST_REDIS to the redis:// address of a running one"
        )
    return program


class RunningRedis:
    """A Redis that somebody has started: it can be used, and not broken."""

    def __init__(self, url: str) -> None:
        self.url = url

    def answers(self) -> bool:
        """Whether it answers a PING; false also while it is loading."""
        try:
            with self._client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def flush(self) -> None:
        """Forgets every key of the database that the address names."""
        with self._client() as client:
            client.flushdb()

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(
            self.url, socket_timeout=_COMMAND, socket_connect_timeout=_COMMAND
        )


class RedisServer(RunningRedis):
    """A server of our own. As a context manager it is started, and killed at the end.

    Args:
        folder: for its log; it is made if it is not there.

    Raises:
        UnavailableError: there is no redis-server.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        super().__init__(f"redis://127.0.0.1:{self.port}/0")
        folder.mkdir(parents=True, exist_ok=True)
        command = [redis_program(), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
        self._process = ServerProcess("redis-server", command, folder / "redis.log")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Starts the server, empty, and waits until it answers."""
        self._process.start()

        def ready() -> bool:
            self._process.check()
            return self.answers()

        eventually("redis-server to answer", ready, PATIENCE)

    def stop(self) -> None:
        """Orderly stop."""
        self._process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def restart(self) -> None:
        """Orderly stop, and start on the same port, empty."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay, and nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._process.resume()

    @property
    def log(self) -> Path:
        return self._process.log

    @property
    def pid(self) -> int:
        return self._process.pid

    def tail(self) -> str:
        """The end of the log."""
        return self._process.tail()
