"""A data folder as a log that can be read again from the start: what `verify` and exports read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies import state_sha256
from server.fold.envelope import EnvelopeError
from server.fold.records import LogError
from server.journal.store import JournalReader
from server.learning.artefacts import Artefacts
from server.learning.checkpoints import Checkpoints
from server.learning.pieces import artefact_in
from server.learning.retention import beginning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rankd.v1 import internal_pb2
    from server.files import DataFolder
    from server.fold.records import LogRecord


class FolderSource:
    """The log of a data folder as it is now; records that come later are not seen. The service may be running.

    Args:
        merged: an app, and the reader of its topic as it was merged; None reads the folder's own journal.
    """

    def __init__(self, folder: DataFolder, merged: tuple[str, JournalReader] | None = None) -> None:
        self._folder = folder
        self._merged_app, self.reader = merged or ("", JournalReader(folder.journal))
        self._first, self._last = self.reader.bounds()

    def apps(self) -> list[str]:
        """Apps with an epoch in the log, or with files."""
        if self._merged_app:
            return [self._merged_app]
        here = {path.name for path in (self._folder.root / "apps").glob("*") if path.is_dir()}
        return sorted(here | set(self.reader.apps()))

    def base(self, app: str) -> internal_pb2.Checkpoint | None:
        """The oldest good checkpoint that the trimmed log still reaches back to; None where nothing was trimmed.

        Raises:
            LogError: the log was trimmed and no such checkpoint is left.
        """
        if self._first <= 1:
            return None
        good = [c for c in self._checkpoints(app) if c.oldest_needed >= self._first]
        found = beginning(self.reader, app, Checkpoints(self._folder.checkpoints(app)))
        if found is None and not good:
            raise LogError(
                f"app {app!r}: the log begins at record {self._first}, and no checkpoint reaches back there"
            )
        return found or good[0]

    def records(self, after: int) -> Iterator[LogRecord]:
        return self.reader.records(after, self._last)

    def read(self, sequence: int) -> LogRecord:
        return self.reader.read(sequence)

    def artefact(self, sha256: str) -> bytes:
        for app in self.apps():
            artefacts = Artefacts(self._folder.artefacts(app))
            if sha256 in artefacts.names():
                return artefacts.state(sha256)
        if self._merged_app:
            return artefact_in(self.reader, self._merged_app, sha256).policy
        raise LogError(f"artefact {sha256[:12]} is missing; restore apps/ from a backup")

    def checkpoints(self, app: str) -> dict[int, str]:
        return {c.version: state_sha256(c.policy) for c in self._checkpoints(app)}

    def _checkpoints(self, app: str) -> list[internal_pb2.Checkpoint]:
        """Good checkpoints within the log, oldest first."""
        checkpoints = Checkpoints(self._folder.checkpoints(app))
        good = []
        for version in checkpoints.versions():
            try:
                checkpoint = checkpoints.load(version)
            except (EnvelopeError, FileNotFoundError):
                continue
            # One from before the log was shared, or from after, counts other records.
            of_this = checkpoint.HasField("merge_state") == bool(self._merged_app)
            if of_this and checkpoint.version <= self._last:
                good.append(checkpoint)
        return good

    def close(self) -> None:
        self.reader.close()
