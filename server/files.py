"""Where everything is in a data folder, and how a file is replaced so that a crash leaves the old or the new one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

# Unix socket paths end at 104 (macOS) to 108 bytes; a longer one gets a short name in the temp folder.
_SOCKET_PATH = 100


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One service's data folder."""

    root: Path

    def lock(self, role: str) -> Path:
        """Held by the one supervisor, writer or learner that runs here."""
        return self.root / "run" / f"{role}.lock"

    @property
    def journal(self) -> Path:
        return self.root / "journal.sqlite"

    @property
    def config(self) -> Path:
        """The configuration that the running service was started with, as JSON, for its processes."""
        return self.root / "run" / "config.json"

    @property
    def service(self) -> Path:
        """Address and process ids of the running service."""
        return self.root / "run" / "service.json"

    @property
    def socket(self) -> Path:
        """The writer's socket."""
        return self._socket("journal")

    def admin_socket(self, worker: str) -> Path:
        """Where the Envoy of a worker takes orders."""
        return self._socket(worker)

    def _socket(self, name: str) -> Path:
        path = self.root.resolve() / "run" / f"{name}.sock"
        if len(os.fsencode(path)) < _SOCKET_PATH:
            return path
        short = hashlib.blake2b(os.fsencode(path), digest_size=12).hexdigest()
        folder = Path(tempfile.gettempdir()) / f"rankd-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{short}.sock"

    def checkpoints(self, app: str) -> Path:
        return self.root / "apps" / app / "checkpoints"

    def artefacts(self, app: str) -> Path:
        return self.root / "apps" / app / "artefacts"

    def snapshot(self, app: str) -> Path:
        """The model that servers serve."""
        return self.root / "apps" / app / "current.model"

    def merged(self, app: str) -> Path:
        """The app's topic, merged into one order; only where a learner folds a topic."""
        return self.root / "apps" / app / "merged.sqlite"

    @property
    def shipped(self) -> Path:
        """Where the shipper stands, as JSON, for the status page."""
        return self.root / "run" / "shipped.json"

    def following(self, app: str) -> Path:
        """Where the follower of the app's topic stands, as JSON, for the status page."""
        return self.root / "run" / f"following.{app}.json"

    @property
    def board(self) -> Path:
        """What all nodes say of themselves, as JSON, as far as Redis tells."""
        return self.root / "run" / "board.json"

    def status(self, app: str) -> Path:
        """What the learner says of the app, as JSON."""
        return self.root / "apps" / app / "status.json"


class InUseError(Exception):
    """Another process holds the lock. Stop that one, or use another data folder."""


@contextmanager
def exclusive(path: Path, wait: float = 0.0) -> Iterator[None]:
    """Holds a lock file for this process alone; the system lets go of it however the process ends.

    Args:
        wait: seconds to wait for one that is just about to end.

    Raises:
        InUseError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise InUseError(f"{path} is held by another process") from error
                time.sleep(0.02)
        yield


def replace(path: Path, *data: bytes, durable: bool, private: bool = False) -> None:
    """Replaces a file's content in one step: readers see the old or the new one, never a part.

    Args:
        data: the new content, in as many pieces as it is at hand.
        durable: also after a power cut (fsync of file and folder); not needed for what can be made again.
        private: for this user's eyes only, as it holds a secret.
    """
    rewrite(path, lambda file: file.writelines(data), durable=durable, private=private)


def rewrite(
    path: Path, write: Callable[[IO[bytes]], object], *, durable: bool, private: bool = False
) -> None:
    """As `replace`, with content that is never in memory as a whole.

    Args:
        write: writes the new content into an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with temporary.open("wb") as file:
            if private:
                os.fchmod(file.fileno(), 0o600)
            write(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
