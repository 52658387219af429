"""Checkpoints on disk: the newest good one is where a learner resumes, the oldest is where `verify` starts."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import structlog

from rankd.v1 import internal_pb2
from server.files import rewrite
from server.fold.envelope import EnvelopeError, seal_into, unseal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

log = structlog.get_logger("learner")


class Checkpoints:
    """The checkpoint files of one app: NUMBER.ckpt, NUMBER being the version that it holds.

    Kept are the newest `keep`, and of the older ones every `archive`-th version (a multiple), so that a trimmed log
    still has a base near its beginning to verify from.
    """

    def __init__(self, folder: Path, keep: int = 3, archive: int = 500_000) -> None:
        self._folder = folder
        self._keep = keep
        self._archive = archive

    def versions(self) -> list[int]:
        """Versions on disk, oldest first."""
        names = (path.stem for path in self._folder.glob("*.ckpt"))
        return sorted(int(name) for name in names if name.isdecimal())

    def archives(self, version: int) -> bool:
        """Whether that version would be kept for as long as the log is."""
        return version % self._archive == 0

    def save(
        self, checkpoint: internal_pb2.Checkpoint, more: Iterable[internal_pb2.Checkpoint] = ()
    ) -> None:
        """Writes one durably, with the further pieces of it, then drops those that need not be kept."""
        pieces = chain([checkpoint], more)
        path = self._path(checkpoint.version)
        rewrite(path, lambda file: seal_into(file, pieces), durable=True)
        for version in self.versions()[: -self._keep]:
            if not self.archives(version):
                self._path(version).unlink(missing_ok=True)

    def drop_useless(self, first: int) -> None:
        """Drops those that need records from before `first`, which are gone."""
        for version in self.versions()[: -self._keep]:
            try:
                useless = self.load(version).oldest_needed < first
            except EnvelopeError:
                useless = True
            if useless:
                self._path(version).unlink(missing_ok=True)

    def newest(self) -> Iterator[internal_pb2.Checkpoint]:
        """Good checkpoints, newest first; a bad one is reported and passed over."""
        for version in reversed(self.versions()):
            try:
                yield self.load(version)
            except FileNotFoundError:
                continue  # dropped meanwhile
            except EnvelopeError as error:
                log.error(
                    "a bad checkpoint; using the one before", version=version, error=str(error)
                )

    def load(self, version: int) -> internal_pb2.Checkpoint:
        """One checkpoint.

        Raises:
            EnvelopeError: it is damaged.
            FileNotFoundError: there is none of that version.
        """
        return unseal(internal_pb2.Checkpoint, self._path(version).read_bytes())

    def _path(self, version: int) -> Path:
        return self._folder / f"{version:020}.ckpt"
