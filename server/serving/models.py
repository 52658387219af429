"""The models that a serving process serves: watched for, loaded beside the event loop, swapped in one step."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from policies import Model, PolicyError
from rankd.v1 import internal_pb2
from server.fold.envelope import EnvelopeError, unseal
from server.fold.settings import FoldSettings

if TYPE_CHECKING:
    from pathlib import Path

    from server.files import DataFolder

log = structlog.get_logger("models")


@dataclass(frozen=True, slots=True)
class Served:
    """One app's model with the settings that it decides under."""

    settings: FoldSettings
    model: Model
    epoch: int
    version: int
    published: tuple[
        int, int, int
    ]  # (lease, epoch, version) of the publication: never a lower one after a higher


def load_served(data: bytes) -> Served:
    """The model in a snapshot file.

    Raises:
        EnvelopeError, PolicyError: the bytes are no usable model.
    """
    snapshot = unseal(internal_pb2.Snapshot, data)
    settings = FoldSettings.model_validate_json(snapshot.config_json)
    return Served(
        settings,
        settings.spec().load(snapshot.policy),
        snapshot.model_epoch,
        snapshot.model_version,
        (snapshot.lease, snapshot.epoch, snapshot.published_at),
    )


class Models:
    """Keeps the newest published model of every app in memory."""

    def __init__(self, folder: DataFolder, apps: list[str], poll: float) -> None:
        self._paths: dict[str, Path] = {app: folder.snapshot(app) for app in apps}
        self._seen: dict[str, tuple[int, int]] = {}
        self._served: dict[str, Served] = {}
        self._poll = poll

    def get(self, app: str) -> Served | None:
        """The app's model, or None while there is none yet."""
        return self._served.get(app)

    @property
    def complete(self) -> bool:
        """Whether every app has a model."""
        return len(self._served) == len(self._paths)

    async def run(self) -> None:
        """Watches until cancelled."""
        while True:
            for app, path in self._paths.items():
                await self._look(app, path)
            await asyncio.sleep(self._poll)

    async def _look(self, app: str, path: Path) -> None:
        try:
            stat = path.stat()  # noqa: ASYNC240  # microseconds; a thread costs more
            if self._seen.get(app) == (stat.st_mtime_ns, stat.st_ino):
                return
            served = await asyncio.to_thread(lambda: load_served(path.read_bytes()))
        except FileNotFoundError:
            return
        except (EnvelopeError, PolicyError, OSError, ValueError) as error:
            log.error(
                "cannot load a published model; keeping the one served", app=app, error=str(error)
            )
            await asyncio.sleep(self._poll)
            return
        self._seen[app] = (stat.st_mtime_ns, stat.st_ino)
        current = self._served.get(app)
        if current is None or served.published > current.published:
            self._served[app] = served
