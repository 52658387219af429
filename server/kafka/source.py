"""Logs that servers share, as `verify` and exports read them: a learner's mirror, or the topic itself."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from rankd.v1 import log_pb2 as pb
from server.fold.records import LogError
from server.kafka.consumer import KAFKA_ERRORS, TopicReader
from server.kafka.follower import Following
from server.kafka.mirror import MirrorReader
from server.learning.pieces import artefact_in
from server.learning.source import FolderSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rankd.v1 import internal_pb2
    from server.files import DataFolder
    from server.fold.records import LogRecord

_URL = re.compile(r"kafka://([^\s,/]+:\d+(?:,[^\s,/]+:\d+)*)/([A-Za-z0-9._-]+)")
# Seconds for one request to Kafka. Somebody sits and waits for the answer.
_TIMEOUT = 10.0
# Messages of the first partition in which a record tells the app's name; before it there are rewards of others at most.
_SEARCH = 100_000
_GONE = "What is left of the log can be read from the data folder of a learner that still has the records"


def merged_apps(folder: DataFolder) -> list[str]:
    """Apps whose topics a learner has merged in that data folder, sorted."""
    return sorted(path.parent.name for path in folder.root.glob("apps/*/merged.sqlite"))


def merged_source(folder: DataFolder, app: str) -> FolderSource:
    """The app's merged log in a learner's data folder. Raises FileNotFoundError where there is none."""
    return FolderSource(folder, (app, MirrorReader(folder.merged(app))))


class TopicSource:
    """A whole topic, up to its end as of now, as a log that can be read again and again.

    It is merged into a temporary file, which takes as much room as the topic.

    Args:
        url: kafka://HOST:PORT[,HOST:PORT]/TOPIC
        app: its name; None finds it in the topic.

    Raises:
        LogError: the topic cannot be read, or not from its beginning.
        ValueError: it is no such URL.
    """

    def __init__(self, url: str, app: str | None = None) -> None:
        found = _URL.fullmatch(url)
        if found is None:
            raise ValueError(
                f"{url}: give kafka://HOST:PORT/TOPIC, or several HOST:PORT with commas"
            )
        self._url = url
        self._bootstrap, self._topic = found[1], found[2]
        self.left_out = 0
        """Records at the end whose place in the order is not certain yet."""
        self._following: Following | None = None
        with ExitStack() as stack:
            temporary = TemporaryDirectory(prefix="rankd-")
            self._path = Path(stack.enter_context(temporary)) / "merged.sqlite"
            self._app = asyncio.run(self._read_all(app))
            self.reader = MirrorReader(self._path)
            stack.callback(self.reader.close)
            self._open = stack.pop_all()
        self._last = self.reader.bounds()[1]

    def _reader(self) -> TopicReader:
        return TopicReader(self._bootstrap, self._topic, _TIMEOUT, _GONE)

    async def _read_all(self, app: str | None) -> str:
        try:
            name = app or await self._find_app()
        except KAFKA_ERRORS as error:
            raise LogError(f"{self._url}: {error!r}") from error
        following = Following(name, self._reader, self._path)
        ends: dict[int, int] = {}
        done = False

        def reached(following: Following) -> bool:
            nonlocal done
            for partition, end in enumerate(following.ends or ()):
                ends.setdefault(partition, end)
            done = following.ends is not None and following.has_reached(list(ends.values()))
            return done

        try:
            while not done:
                before = following.merger.sequence
                try:
                    await following.read(
                        until=reached
                    )  # also ends where the topic's partitions grow
                except KAFKA_ERRORS as error:
                    if following.merger.sequence == before:
                        raise LogError(f"{self._url}: {error!r}") from error
        finally:
            following.close()
        self.left_out = following.merger.held
        return name

    async def _find_app(self) -> str:
        """The app that the topic is named after, as its first records say."""
        reader = self._reader()
        try:
            await reader.open([0])
            (end,) = await reader.ends()
            looked = 0
            while looked < min(end, _SEARCH):
                messages = await reader.fetch([0], 0.5, 500)
                for message in messages:
                    name = _app_in(message.value)
                    if name and f".{self._topic}".endswith(f".{name}"):
                        return name
                (looked,) = await reader.positions()
        finally:
            await reader.close()
        raise LogError(
            f"{self._url}: no record of a rankd server is there; --app gives the app's name"
        )

    def apps(self) -> list[str]:
        return [self._app]

    def base(self, app: str) -> internal_pb2.Checkpoint | None:
        return None

    def records(self, after: int) -> Iterator[LogRecord]:
        return self.reader.records(after, self._last)

    def read(self, sequence: int) -> LogRecord:
        return self.reader.read(sequence)

    def artefact(self, sha256: str) -> bytes:
        return artefact_in(self.reader, self._app, sha256).policy

    def checkpoints(self, app: str) -> dict[int, str]:
        return {}

    def follow(self) -> None:
        """From now on `reader` gets what comes into the topic."""
        self._following = following = Following(self._app, self._reader, self._path)
        loop = asyncio.new_event_loop()
        task = loop.create_task(following.run())

        def run() -> None:
            try:
                loop.run_until_complete(task)
            except asyncio.CancelledError:
                pass
            finally:
                loop.close()

        thread = threading.Thread(target=run, name="follower")

        def stop() -> None:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(task.cancel)
            thread.join()

        thread.start()
        self._open.callback(stop)

    @property
    def error(self) -> str:
        """Why following has stopped; empty while it goes on."""
        return "" if self._following is None else self._following.error

    def close(self) -> None:
        """May be called again."""
        self._open.close()


def _app_in(value: bytes) -> str:
    """The app's name in a record of a rankd server; empty where it says none."""
    try:
        header = pb.Record.FromString(value).header
    except DecodeError:
        return ""
    return header.app if header.node else ""
