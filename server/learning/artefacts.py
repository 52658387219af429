"""Models as files, named by the sha256 of their policy state: what epochs and promotions refer to. Never trimmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies import state_sha256
from rankd.v1 import internal_pb2
from server.files import replace
from server.fold.envelope import EnvelopeError, seal, unseal
from server.fold.records import LogError

if TYPE_CHECKING:
    from pathlib import Path


class Artefacts:
    """The artefact folder of one app."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, model: internal_pb2.Snapshot) -> str:
        """Stores a model durably; returns the sha256 that names it."""
        name = state_sha256(model.policy)
        path = self._path(name)
        if not path.exists():
            replace(path, seal(model), durable=True)
        return name

    def load(self, name: str) -> internal_pb2.Snapshot:
        """The model of that name.

        Raises:
            LogError: it is missing or damaged, so that a log that refers to it cannot be folded.
        """
        try:
            model = unseal(internal_pb2.Snapshot, self._path(name).read_bytes())
        except (FileNotFoundError, EnvelopeError) as error:
            raise LogError(f"artefact {name[:12]}: {error}; restore it from a backup") from error
        if state_sha256(model.policy) != name:
            raise LogError(f"artefact {name[:12]} holds another model; restore it from a backup")
        return model

    def state(self, name: str) -> bytes:
        """The policy state of that name."""
        return self.load(name).policy

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.model"))

    def _path(self, name: str) -> Path:
        if not (len(name) == 64 and all(c in "0123456789abcdef" for c in name)):
            raise LogError(f"{name!r} is no sha256")
        return self._folder / f"{name}.model"
