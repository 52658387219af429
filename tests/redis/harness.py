"""Nodes as far as Redis knows them: a data folder with a journal, and a relay in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from concurrent.futures import Future
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

import redis

from rankd.v1 import internal_pb2
from server.config import Config
from server.files import DataFolder, replace
from server.fold.envelope import EnvelopeError, seal, unseal
from server.journal.store import Store
from server.redis.relay import Relay

if TYPE_CHECKING:
    from pathlib import Path

    from server.redis.register import Version

KEY = "ab" * 32
# Seconds for anything that takes a moment on an idle machine. Only a failing test waits so long.
SECONDS = 30.0
# Seconds after which a relay here takes a silent Redis for lost.
TIMEOUT = 2.0


def prefix() -> str:
    """Keys of a test's own, in a server that tests share."""
    return f"test-{secrets.token_hex(8)}"


def config(url: str, prefix: str, **fields: Any) -> Config:
    """A configuration with that Redis, which has time to answer; the Kafka that it requires is not used here."""
    return Config(
        **{
            "kafka": {"bootstrap": "localhost:9"},
            "redis": {"url": url, "key": KEY, "prefix": prefix, "timeout": SECONDS},
            **fields,
        }
    )


def snapshot(version: Version, app: str = "default", policy: bytes = b"weights") -> bytes:
    """A model file of that (lease, epoch, published_at)."""
    lease, epoch, published_at = version
    return seal(
        internal_pb2.Snapshot(
            app=app, lease=lease, epoch=epoch, published_at=published_at, policy=policy
        )
    )


class Node:
    """A data folder, and its relay. As a context manager the relay runs.

    Args:
        key: of this node, if it is another one than the others have.
        audit: seconds between two full looks at values that seem to be in step.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        prefix: str,
        role: str = "all",
        key: str = KEY,
        audit: float = 0.2,
        apps: tuple[str, ...] = ("default",),
    ) -> None:
        self.folder = DataFolder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with closing(Store(self.folder.journal)) as store:
            self.name = store.node.split(".")[0]
        self.config = config(
            url,
            prefix,
            server={"role": role},
            redis={"url": url, "key": key, "prefix": prefix},
            apps={app: {} for app in apps},
        )
        self._audit = audit
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()
        self._ended: Future[None] = Future()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops the relay. May be called again."""
        loop, task = self._started.result(SECONDS)
        if not self._ended.done():
            loop.call_soon_threadsafe(task.cancel)
        self._ended.result(SECONDS)
        self._thread.join(SECONDS)

    def _run(self) -> None:
        async def relay() -> None:
            task = asyncio.create_task(
                Relay(self.config, self.folder, timeout=TIMEOUT, audit=self._audit).run()
            )
            self._started.set_result((asyncio.get_running_loop(), task))
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

        try:
            asyncio.run(relay())
            self._ended.set_result(None)
        except BaseException as error:  # told to the test
            self._ended.set_exception(error)

    def publish(self, version: Version, app: str = "default", policy: bytes = b"weights") -> None:
        """What the learner does."""
        replace(self.folder.snapshot(app), snapshot(version, app, policy), durable=False)

    def model(self, app: str = "default") -> internal_pb2.Snapshot | None:
        """The model in the file; None if it is none."""
        try:
            return unseal(internal_pb2.Snapshot, self.folder.snapshot(app).read_bytes())
        except (FileNotFoundError, EnvelopeError):
            return None

    def version(self, app: str = "default") -> Version | None:
        model = self.model(app)
        return None if model is None else (model.lease, model.epoch, model.published_at)

    def board(self) -> dict[str, Any]:
        """The board's file; empty while there is none."""
        try:
            board: dict[str, Any] = json.loads(self.folder.board.read_bytes())
        except FileNotFoundError:
            return {}
        return board

    def connected(self) -> bool:
        return bool(self.board().get("redis"))


class Keys:
    """What an operator, or an attacker, can do with the same Redis."""

    def __init__(self, url: str, prefix: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=SECONDS)
        self.prefix = prefix

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def name(self, *parts: str) -> str:
        return ":".join((self.prefix, *parts))

    def read(self, *parts: str) -> dict[str, bytes]:
        """The hash."""
        held: Any = self._client.hgetall(self.name(*parts))
        return {field.decode(): value for field, value in held.items()}

    def write(self, *parts: str, **fields: bytes | int | str) -> None:
        """Fields of the hash; others stay."""
        for field, value in fields.items():
            self._client.hset(self.name(*parts), field, value)

    def set(self, *parts: str, value: bytes | str) -> None:
        """Makes it a string."""
        self._client.set(self.name(*parts), value)

    def get(self, name: str) -> bytes:
        """The string of that full name."""
        value: Any = self._client.get(name)
        return bytes(value)

    def put(self, name: str, value: bytes) -> None:
        """The string of that full name."""
        self._client.set(name, value)

    def delete(self, *parts: str) -> None:
        self._client.delete(self.name(*parts))

    def is_hash(self, *parts: str) -> bool:
        return bool(self._client.type(self.name(*parts)) == b"hash")

    def configure(self, name: str, value: str) -> None:
        """CONFIG SET, for a server of the test's own."""
        self._client.config_set(name, value)

    def all(self) -> list[str]:
        """Names of all keys of the prefix."""
        return sorted(key.decode() for key in self._client.scan_iter(f"{self.prefix}:*"))

    def milliseconds_left(self, name: str) -> int:
        left: Any = self._client.pttl(name)
        return int(left)
