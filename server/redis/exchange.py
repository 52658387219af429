"""One app's files and their counterparts in Redis: the model that is served, and what its learner says of itself."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import structlog

from rankd.v1 import internal_pb2
from server.files import replace
from server.fold.envelope import EnvelopeError, unseal
from server.redis.register import AUDIT_SECONDS, Register, UnreadableError, Value, Version

if TYPE_CHECKING:
    from pathlib import Path

    from redis.asyncio import Redis

log = structlog.get_logger("relay")

# What tells one content of a file from another: time of change (ns), inode, size (bytes).
Stamp = tuple[int, int, int]


class ModelExchange:
    """Keeps an app's model file and Redis in step: the greater (lease, epoch, published_at) wins on either side.

    So a Redis that was wiped gets the model back from any server, and a learner that does not know that its lease is over
    replaces nothing anywhere. A wiped cluster needs new data folders and a new `redis.prefix`: old numbers may be greater.
    """

    def __init__(
        self,
        redis: Redis,
        key: bytes,
        prefix: str,
        app: str,
        path: Path,
        audit: float = AUDIT_SECONDS,
    ) -> None:
        self._app = app
        self._path = path
        self._register = Register(
            redis,
            key,
            f"{prefix}:model:{app}",
            ("lease", "epoch", "published_at"),
            self._version_of,
            channel(prefix),
            app,
            audit,
        )
        self._stamp: Stamp | None = None
        self._local: Value | None = None
        self._failing = False

    @property
    def version(self) -> Version | None:
        """Of the local file when it was last read."""
        return None if self._local is None else self._local.version

    @property
    def forged(self) -> int:
        """Forged values found in Redis."""
        return self._register.forged

    def changed(self) -> bool:
        """Whether the file is another one than when it was last read."""
        return _stamp(self._path) != self._stamp

    async def exchange(self) -> None:
        """One comparison. Raises RedisError, OSError: see Register."""
        if self.changed():
            await asyncio.to_thread(self._read)
        theirs = await self._register.exchange(self._local)
        if theirs is not None:
            await asyncio.to_thread(self._write, theirs)

    def _version_of(self, data: bytes) -> Version:
        try:
            snapshot = unseal(internal_pb2.Snapshot, data)
        except EnvelopeError as error:
            raise UnreadableError(str(error)) from error
        if snapshot.app != self._app:
            raise UnreadableError(f"it holds a model of app {snapshot.app!r}")
        return snapshot.lease, snapshot.epoch, snapshot.published_at

    def _read(self) -> None:
        """A file that is no model counts as none, and is replaced when Redis has one."""
        stamp = _stamp(self._path)
        try:
            data = self._path.read_bytes()
            self._local = Value(self._version_of(data), data)
        except FileNotFoundError:
            self._local = None
        except (OSError, UnreadableError) as error:
            self._local = None
            log.error("cannot use the local model", app=self._app, error=str(error))
        self._stamp = stamp

    def _write(self, value: Value) -> None:
        if self.changed():  # the learner has just published; compare again
            return
        try:
            replace(self._path, value.data, durable=False)
        except OSError as error:  # a full disk, say: tried again with every look
            if not self._failing:
                log.error("cannot write a model", app=self._app, error=str(error))
            self._failing = True
            return
        self._failing = False
        log.debug("took a model from Redis", app=self._app, version=value.version)


class StatusExchange:
    """Carries the report of the learner that owns an app to servers without one; never goes back to an older one.

    Args:
        receives: whether this machine has no learner, so that its status file is what others say.
    """

    def __init__(
        self, redis: Redis, key: bytes, prefix: str, app: str, path: Path, receives: bool
    ) -> None:
        self._path = path
        self._receives = receives
        self._register = Register(
            redis, key, f"{prefix}:status:{app}", ("lease", "folded"), self._version_of
        )
        self._failing = False

    @property
    def forged(self) -> int:
        """Forged values found in Redis."""
        return self._register.forged

    async def exchange(self) -> None:
        """One comparison. Raises RedisError, OSError: see Register."""
        local = self._read()
        if not self._receives and (local is None or not _status(local.data).get("owner")):
            return
        theirs = await self._register.exchange(local)
        if theirs is None or not self._receives:
            return
        try:
            replace(self._path, theirs.data, durable=False)
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.error("cannot write a learner's report", error=str(error))
            self._failing = True

    def _read(self) -> Value | None:
        try:
            data = self._path.read_bytes()  # a kilobyte
            return Value(self._version_of(data), data)
        except (OSError, UnreadableError):
            return None

    @staticmethod
    def _version_of(data: bytes) -> Version:
        status = _status(data)
        lease, folded = status.get("lease", 0), status.get("folded", 0)
        if not (isinstance(lease, int) and isinstance(folded, int)):
            raise UnreadableError("its lease and folded are no integers")
        return lease, folded


def channel(prefix: str) -> str:
    """Where servers tell each other of new models; a message is the name of the app."""
    return f"{prefix}:models"


def _status(data: bytes) -> dict[str, Any]:
    try:
        status = json.loads(data)
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    if not isinstance(status, dict):
        raise UnreadableError("no JSON object")
    return status


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
