"""What makes brokers start sooner, made once and kept beside the jars: Kafka's classes as the JVM has read them, and a formatted folder.

A broker then starts with half the work, and no JVM is started only to format its folder.
"""

from __future__ import annotations

import base64
import fcntl
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.jars import kafka_jars

if TYPE_CHECKING:
    from collections.abc import Callable

_META = "meta.properties"


class Prepared:
    """A folder with both. A JVM of another build than the one that wrote the archive starts without it."""

    def __init__(self, folder: Path) -> None:
        self.classes = folder / "classes.jsa"
        self._formatted = folder / "formatted"

    def format(self, data: Path, node: int) -> None:
        """Makes a broker's data folder, as Kafka's own tool does for this node."""
        shutil.copytree(self._formatted, data)
        own = {
            "node.id": str(node),
            "directory.id": base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
        }
        written = (data / _META).read_text().splitlines()
        settings = dict(line.split("=", 1) for line in written if not line.startswith("#"))
        (data / _META).write_text("".join(f"{k}={v}\n" for k, v in {**settings, **own}.items()))

    def keep(self, data: Path) -> None:
        """Takes a folder that Kafka's tool has just formatted."""
        shutil.copytree(data, self._formatted)


def prepared(make: Callable[[Path, Prepared], None]) -> Prepared:
    """The cache's own; `make` makes it in an empty folder where there is none. Safe in several processes at once."""
    jars = kafka_jars()
    target = jars.with_name(f"{jars.name}-prepared")
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix="prepare-") as temporary:
                made = Path(temporary, "prepared")
                made.mkdir()
                make(Path(temporary), Prepared(made))
                made.rename(target)
    return Prepared(target)
