"""The follower: a process that merges the apps' topics into mirrors, which the learner folds.

It is its own process because a policy may keep the learner busy for seconds, and Kafka does not wait so long.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from rankd.v1 import internal_pb2
from server.files import replace
from server.fold.merge import DeadLetter, Merger
from server.fold.records import LogError, LogRecord
from server.kafka.consumer import KAFKA_ERRORS, TopicReader
from server.kafka.dead import DeadLetters
from server.kafka.mirror import Mirror
from server.learning.checkpoints import Checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from server.config import Config
    from server.files import DataFolder
    from server.fold.merge import Message

log = structlog.get_logger("follower")

# Records appended in one transaction, after which others of the process get their turn: some 20 ms.
BATCH = 500
# What may wait for its place in the order before only those partitions are read that hold everything up. Counted besides
# what is under way: at most one answer of each broker, 16 MB.
_HELD_MESSAGES = 20_000
_HELD_BYTES = 64 << 20
# Seconds that a fetch waits; then the status has its turn.
_FETCH_SECONDS = 0.5
# Seconds between two looks at where the topic ends, and how long one may take.
_ENDS_SECONDS = 2.0
# Seconds after which a consumer that gets nothing of what is there is made anew.
_STUCK_SECONDS = 10.0
# Seconds between attempts: the first, and the longest.
_BACKOFF = (0.1, 2.0)
# Seconds between two status files.
_STATUS_SECONDS = 0.5
# Seconds between two reports of the same trouble.
_REPORT_SECONDS = 10.0


async def run(config: Config, folder: DataFolder, apps: list[str], stop: asyncio.Event) -> None:
    """Follows the topics of these apps until told to stop. What ails one of them does not touch the others."""
    timeout = config.kafka.timeout.total_seconds()
    letters = DeadLetters(config.kafka.bootstrap, timeout)

    def following(app: str) -> Following:
        topic = config.topic(app)

        def reader() -> TopicReader:
            return TopicReader(config.kafka.bootstrap, topic, timeout)

        def dead(letter: DeadLetter) -> None:
            letters.put(f"{topic}.dead", letter)

        mirror, checkpoints = folder.merged(app), Checkpoints(folder.checkpoints(app))
        return Following(app, reader, mirror, dead, lambda: newest_state(checkpoints))

    followings = [following(app) for app in apps]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in followings]
        tasks.append(group.create_task(letters.run()))
        tasks.append(group.create_task(_write_status(folder, followings)))
        await stop.wait()
        for task in tasks:
            task.cancel()


def newest_state(checkpoints: Checkpoints) -> internal_pb2.MergeState | None:
    """Where to begin without a mirror: where the newest good checkpoint needs the log from. None: at the beginning."""
    for checkpoint in checkpoints.newest():
        if checkpoint.merge_state:
            return internal_pb2.MergeState.FromString(checkpoint.merge_state)
    return None


async def _write_status(folder: DataFolder, followings: Sequence[Following]) -> None:
    failing = False
    while True:
        try:
            for each in followings:
                data = json.dumps(each.status()).encode()
                replace(folder.following(each.app), data, durable=False)
            failing = False
        except OSError as error:
            if not failing:
                log.error("cannot write the status; going on without", error=str(error))
            failing = True
        await asyncio.sleep(_STATUS_SECONDS)


def _told_to_stop() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class Following:
    """One app's topic on its way into the mirror.

    Args:
        reader: makes a consumer of the topic.
        path: of the mirror.
        dead: takes what could not be read.
        begin: where a new mirror begins; None is the beginning of the topic.
    """

    def __init__(
        self,
        app: str,
        reader: Callable[[], TopicReader],
        path: Path,
        dead: Callable[[DeadLetter], None] = lambda _: None,
        begin: Callable[[], internal_pb2.MergeState | None] = lambda: None,
    ) -> None:
        self.app = app
        self.error = ""  # why it has stopped
        self.merger = Merger(app)
        self._path = path
        self._make_reader = reader
        self._dead = dead
        self._begin = begin
        self._mirror: Mirror | None = None
        self._reader: TopicReader | None = None
        self._ends: list[int] | None = None  # None: Kafka does not say
        self._positions: list[int] = []
        self._look_at = 0.0
        self._answered_at = 0.0
        self._waits: dict[int, tuple[int, float]] = {}  # partition -> (position, since when)
        self._moved = False  # whether anything has come since the consumer was made
        self._told: dict[str, float] = {}  # trouble -> when it was last reported

    async def run(self) -> None:
        """Follows until cancelled. Whatever can be tried again is; a log that cannot be read on stays where it is."""
        wait = _BACKOFF[0]
        try:
            while True:
                try:
                    await self.read()
                    wait = _BACKOFF[0]
                    continue  # the topic has grown
                except LogError as error:
                    self.error = str(error)
                    await self._stay(self.error)
                except (*KAFKA_ERRORS, sqlite3.Error) as error:
                    self._tell("following again after an error", repr(error))
                except asyncio.CancelledError:
                    if _told_to_stop():
                        raise
                    # One of the consumer's own that has come out of it: nobody has asked this task to end.
                    self._tell(
                        "following again after an error", "the consumer has cancelled itself"
                    )
                wait = _BACKOFF[0] if self._moved else min(2 * wait, _BACKOFF[1])
                await asyncio.sleep(wait)
        finally:
            self.close()

    async def read(self, until: Callable[[Following], bool] = lambda _: False) -> None:
        """Reads with one consumer, until the topic has grown or `until` says so."""
        self._moved = False
        mirror = self._open_mirror()
        self.merger = merger = Merger(self.app, mirror.state())
        self._reader = reader = self._make_reader()
        self._ends, self._look_at, self._waits = None, 0.0, {}
        partitions = len(merger.offsets)
        try:
            await reader.open(merger.offsets)
            self._positions, self._answered_at = merger.offsets, time.monotonic()
            while len(merger.offsets) == partitions:
                if _told_to_stop():  # though aiokafka took it for a cancellation of its own
                    raise asyncio.CancelledError
                wanted = self._wanted()
                await self._look(wanted)
                if until(self):
                    return
                most = BATCH if len(wanted) == partitions else max(1, BATCH // len(wanted))
                messages = await reader.fetch(wanted, _FETCH_SECONDS, most)
                self._positions = await reader.positions()
                self._moved = self._moved or bool(messages)
                await self._take(messages)
        finally:
            self._reader, self._ends = None, None
            await reader.close()

    def _open_mirror(self) -> Mirror:
        if self._mirror is None:
            begin = None if self._path.exists() else self._begin()
            try:
                self._mirror = Mirror(self._path, begin)
            except sqlite3.OperationalError:
                raise  # no room, say
            except sqlite3.DatabaseError as error:
                raise LogError(
                    f"{self._path} is damaged ({error}). Stop rankd, delete it and those beside it that begin with its "
                    "name, and start again: it is made anew from Kafka"
                ) from error
        return self._mirror

    def _wanted(self) -> list[int]:
        """The partitions to read: all, unless too much waits for its place already."""
        merger = self.merger
        if merger.held < _HELD_MESSAGES and merger.held_bytes < _HELD_BYTES:
            return list(range(len(merger.offsets)))
        return merger.waiting_for

    async def _take(self, messages: Sequence[Message]) -> None:
        """Feeds the merger and appends what it is sure of, giving way to others in between."""
        merger, mirror = self.merger, self._open_mirror()
        for message in messages:
            merger.feed(message)
        more = bool(messages)
        while more:
            before = merger.passed
            records: list[LogRecord] = []
            fault = None
            try:
                for item in islice(merger.emit(), BATCH):
                    if isinstance(item, DeadLetter):
                        self._note_dead(item)
                    else:
                        records.append(item)
            except LogError as error:
                fault = error  # what comes before it is good
            if merger.passed > before:
                mirror.append(records, merger.state())
            if fault is not None:
                raise fault
            more = merger.passed - before >= BATCH
            await asyncio.sleep(0)

    async def _look(self, wanted: Sequence[int]) -> None:
        """Every few seconds: where the topic ends, and whether the consumer gets on towards there.

        Raises:
            TimeoutError: it does not, or Kafka does not answer.
        """
        now = time.monotonic()
        if now < self._look_at or self._reader is None:
            return
        self._look_at = now + _ENDS_SECONDS
        try:
            async with asyncio.timeout(_ENDS_SECONDS):
                ends = await self._reader.ends()
        except KAFKA_ERRORS as error:
            self._ends = None
            if now - self._answered_at > _STUCK_SECONDS:
                raise
            self._tell("Kafka does not answer", repr(error))
            return
        self._ends, self._answered_at = ends, now
        if self.caught_up:
            self._note_spare(self._reader.there, len(ends))
        waits = {}
        for partition in wanted:
            position = self._positions[partition]
            if position < ends[partition]:
                before, since = self._waits.get(partition, (position, now))
                waits[partition] = (position, since if before == position else now)
        self._waits = waits
        stuck = [n for n, (_, since) in waits.items() if now - since > _STUCK_SECONDS]
        if stuck:
            raise TimeoutError(f"nothing comes from partition {stuck[0]}, though more is there")

    def status(self) -> dict[str, object]:
        """What `DataFolder.following` says."""
        ends, behind = self._ends, None
        if ends is not None:
            behind = sum(max(0, end - at) for end, at in zip(ends, self._positions, strict=True))
        state = self.merger.state()
        return {
            "merged": state.sequence,
            "offsets": list(state.offsets),
            "ends": ends,
            "behind": behind,
            "held": self.merger.held,
            "dead": state.dead,
            "copies": state.copies,
            "order_time_us": max(state.times_us),
            "waiting_for": self.merger.waiting_for if self.merger.held else [],
            "kafka": ends is not None,
            "error": self.error,
            "time": time.time(),
        }

    @property
    def caught_up(self) -> bool:
        """Whether everything that the topic had at the last look has been fetched. Its end may still lack its order."""
        return self._ends is not None and self.has_reached(self._ends)

    @property
    def ends(self) -> list[int] | None:
        """For each partition, where it ended at the last look; None while Kafka does not say."""
        return self._ends

    def has_reached(self, ends: Sequence[int]) -> bool:
        """Whether everything before these offsets has been fetched."""
        return all(at >= end for at, end in zip(self._positions, ends, strict=True))

    # -- telling -----------------------------------------------------------------------------------

    async def _stay(self, why: str) -> None:
        """Says so until somebody comes."""
        while True:
            log.error("the log cannot be followed any further", app=self.app, error=why)
            await asyncio.sleep(_REPORT_SECONDS)

    def _tell(self, what: str, error: str) -> None:
        """The same trouble only now and then."""
        now = time.monotonic()
        if now - self._told.get(what, -_REPORT_SECONDS) >= _REPORT_SECONDS:
            self._told[what] = now
            log.warning(what, app=self.app, error=error)

    def _note_dead(self, letter: DeadLetter) -> None:
        self._dead(letter)
        now = time.monotonic()
        if now - self._told.get("dead", -1.0) >= 1.0:
            self._told["dead"] = now
            message = letter.message
            place = f"{message.partition}/{message.offset}"
            log.warning(
                "not a record; passed over",
                app=self.app,
                place=place,
                reason=letter.reason,
                count=self.merger.dead,
            )

    def _note_spare(self, there: int, read: int) -> None:
        if there > read:
            self._tell(
                "the topic has partitions that nobody reads",
                f"{there}, while the app's settings say {read}: set kafka.partitions to {there}",
            )

    def close(self) -> None:
        if self._mirror is not None:
            self._mirror.close()
            self._mirror = None
