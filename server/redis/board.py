"""The status board: what every node says of itself, in one hash in Redis, and in a file on every node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import time
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import structlog
from redis.exceptions import ResponseError

from server.files import replace
from server.journal.store import JournalReader
from server.redis.seal import ForgedError, checked, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from redis.asyncio import Redis

    from server.config import Config
    from server.files import DataFolder
    from server.redis.register import Version

log = structlog.get_logger("relay")

# Seconds after which a node that says nothing is forgotten.
_FORGET_SECONDS = 86_400.0
# Forged entries that are known, so that each is told once.
_TOLD = 64
# Addresses to listen on that say nothing to other machines.
_WILDCARDS = ("", "0.0.0.0", "::", "[::]")  # noqa: S104  # compared with, not bound to


class Board:
    """This node's part of the board, and its copy of the whole.

    Args:
        models: the version of each app's model here, as far as there is one.
        forged: how many forged values the node has found elsewhere in Redis.
    """

    def __init__(
        self,
        config: Config,
        folder: DataFolder,
        redis: Redis,
        key: bytes,
        models: Callable[[], Mapping[str, Version]],
        forged: Callable[[], int],
    ) -> None:
        self._config = config
        self._folder = folder
        self._redis = redis
        self._key = key
        self._name = f"{config.redis.prefix}:nodes"
        self._models = models
        self._forged_elsewhere = forged
        self._forged = 0
        self._told: deque[str] = deque(maxlen=_TOLD)  # fields whose content was forged
        self._node = ""
        self._nodes: dict[str, dict[str, Any]] = {}
        self._failing = False

    async def exchange(self) -> None:
        """Says what this node is, reads what the others say, drops who has long been gone.

        Raises:
            RedisError, OSError: Redis did not do its part.
        """
        own = await asyncio.to_thread(self._report)
        try:
            if own is not None:
                said = sign(self._key, self._purpose(self._node), json.dumps(own).encode())
                await self._redis.hset(self._name, self._node, said)
            # The client decodes nothing.
            held = cast("dict[bytes, bytes]", await self._redis.hgetall(self._name))
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            await self._redis.delete(self._name)  # nobody of us made it
            held = {}
        self._nodes, gone = self._read(held)
        if gone:
            await self._redis.hdel(self._name, *gone)
        await self.write(connected=True)

    async def write(self, connected: bool) -> None:
        """Writes the board as it was last read: {redis, at, forged, nodes: {folder: what the node says}}."""
        board = {
            "redis": connected,
            "at": time.time(),
            "forged": self._forged + self._forged_elsewhere(),
            "nodes": self._nodes,
        }
        data = json.dumps(board).encode()
        try:
            await asyncio.to_thread(replace, self._folder.board, data, durable=False)
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.error("cannot write the status board", error=str(error))
            self._failing = True

    def _read(self, held: Mapping[bytes, bytes]) -> tuple[dict[str, dict[str, Any]], list[bytes]]:
        """(what genuine nodes say, fields to drop)."""
        nodes: dict[str, dict[str, Any]] = {}
        gone = []
        oldest = time.time() - _FORGET_SECONDS
        for field, signed in held.items():
            node = field.decode(errors="replace")
            try:
                said = json.loads(checked(self._key, self._purpose(node), signed))
            except ForgedError as error:
                if node not in self._told:
                    self._told.append(node)
                    self._forged += 1
                    log.error("refused a forged or damaged entry of the board", error=str(error))
                gone.append(field)
                continue
            if said["at"] < oldest:
                gone.append(field)
            else:
                nodes[node] = said
        return nodes, gone

    def _purpose(self, node: str) -> str:
        return f"{self._name}/{node}"

    def _report(self) -> dict[str, Any] | None:
        """What this node says of itself, or None while it has no journal."""
        try:
            with contextlib.closing(JournalReader(self._folder.journal)) as journal:
                self._node = journal.folder()
                last = journal.bounds()[1]
        except (OSError, sqlite3.Error):
            return None
        service = _json(self._folder.service) or {}
        host = service.get("host", self._config.server.host)
        return {
            "host": f"{socket.gethostname() if host in _WILDCARDS else host}:{service.get('port', 0)}",
            "role": self._config.server.role,
            "pid": service.get("pids", {}).get("supervisor", os.getpid()),
            "at": time.time(),
            "journal": last,
            "shipped": _json(self._folder.shipped),
            "models": self._models(),
        }


def _json(path: Path) -> Any:
    """The file's content, or None where there is none."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
