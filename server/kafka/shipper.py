"""The shipper: a process that copies a node's journal to Kafka, in order and without a hole.

It goes by rounds. All of a round is in Kafka before the next one begins; after any failure the connections are cut and what
is not known to be there is sent again, over new ones. So records may come twice, which readers drop, but never out of
their order, and none is ever missing between two others.

Kafka's absence is lag, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import structlog

from server.files import replace
from server.fold.records import LogError
from server.journal.client import JournalClient, JournalUnavailableError
from server.journal.store import JournalReader, LogTime
from server.kafka import fork, topics, trimming
from server.kafka.rounds import Position, Round, compose, message, places
from server.kafka.sender import Sender, batch

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from server.config import Config
    from server.files import DataFolder
    from server.fold.records import LogRecord
    from server.kafka.sender import Place

log = structlog.get_logger("shipper")

# Seconds between two looks at a journal that has not changed: a look costs microseconds.
_POLL_SECONDS = 0.005
# Seconds between attempts while Kafka is away: the first, and the longest.
_BACKOFF = (0.1, 2.0)
# Seconds that an attempt has while all is well. An answer that comes within them makes no record's `lag_us` wrong by more,
# and `log.lateness` is to cover that. Where Kafka needs longer, attempts get longer, and records say so.
_PROMPT_SECONDS = 1.0
# Bytes of a round: far below what a broker takes in one request, and a second's work for a slow network.
_ROUND_BYTES = 4 << 20
# Seconds that the writer has to take note of a position. It restarts in half a second.
_JOURNAL_SECONDS = 5.0
# Seconds that a task has to end before it is told again.
_CANCEL_SECONDS = 1.0
# Seconds between two status files.
_STATUS_SECONDS = 0.5
# Seconds between two looks at retention. Each drops at most what has aged since.
_RETENTION_SECONDS = 60.0

# It repeats itself several times a second while a broker is away; the shipper says it once.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


async def run(config: Config, folder: DataFolder, stop: asyncio.Event) -> None:
    """Copies the journal until told to stop; then what is left of it, for `server.drain` at most.

    Raises:
        LogError: journal and topics no longer belong together; this node must not go on.
        TopicError: a topic cannot hold a log; see there.
    """
    with closing(JournalReader(folder.journal)) as reader:
        shipper = Shipper(config, folder, reader)
        chores: list[Coroutine[Any, Any, None]] = [
            shipper.journal.run(),
            shipper.report(),
            shipper.keep_status(),
            shipper.retain(),
        ]
        shipping = asyncio.create_task(shipper.ship(stop))
        stopped = asyncio.create_task(stop.wait())
        around = [asyncio.create_task(chore) for chore in chores]
        try:
            await asyncio.wait([shipping, stopped, *around], return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                drain = config.server.drain.total_seconds()
                await asyncio.wait([shipping], timeout=drain)
        finally:
            results = await _end({shipping, stopped, *around})
            await shipper.close()
            shipper.write_status()
        for error in results:
            raise error
        log.info("stopped", shipped=shipper.position.sequence, left=shipper.left())


async def _end(tasks: set[asyncio.Task[Any]]) -> list[BaseException]:
    """Cancels what still runs, waits for its end, and returns what had gone wrong before."""
    errors = []
    while tasks:
        for task in tasks:
            task.cancel()
        # Again and again: aiokafka takes some cancellations for those of its own tasks.
        ended, tasks = await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)
        errors += [task.exception() for task in ended if not task.cancelled()]
    return [error for error in errors if error is not None]


class Shipper:
    """The journal of one node on its way to Kafka.

    Args:
        reader: of its journal.
    """

    def __init__(self, config: Config, folder: DataFolder, reader: JournalReader) -> None:
        self._config = config
        self._reader = reader
        self._status = folder.shipped
        self._timeout = config.kafka.timeout.total_seconds()
        self._apps = sorted(config.apps)
        self._known = set(config.apps)  # also apps of old, which records still come of
        self.journal = JournalClient(folder.socket, _JOURNAL_SECONDS)
        self.position = Position(reader.shipped())
        if not self.position.sequence:  # it may have been trimmed before it was shared
            self.position.sequence = reader.bounds()[0] - 1
        self._moved = asyncio.Event()
        self._more = True
        self._log_time = LogTime()
        self._sender: Sender | None = None
        self._checked = False  # whether journal and topics are known to belong together
        self._patience = min(_PROMPT_SECONDS, self._timeout)
        self._backoff = _BACKOFF[0]
        self._failures = 0  # of attempts, since the last that did not fail
        self._told: set[str] = set()  # what was said to be wrong since then
        self._unwritable = False  # whether the status was, when it was last tried
        self._rounds = 0
        self._records = 0

    # -- shipping ----------------------------------------------------------------------------------

    async def ship(self, stop: asyncio.Event) -> None:
        """Copies whatever the journal has and gets; returns when it has been told to stop and nothing is left.

        Raises:
            LogError, TopicError: see `run`.
        """
        while True:
            chosen = self._next()
            if chosen is not None:
                await self._deliver(chosen)
            elif stop.is_set():
                return
            else:
                await asyncio.sleep(_POLL_SECONDS)

    def left(self) -> int:
        """Records of the journal that are not known to be in Kafka."""
        return self._reader.bounds()[1] - self.position.sequence

    def _next(self) -> Round | None:
        if not self._more and not self._reader.changed():
            return None
        kafka = self._config.kafka

        def route(record: LogRecord) -> list[Place]:
            return places(record, self._config.topic, self._apps, kafka.partitions)

        records = self._reader.records(self.position.sequence)
        chosen = compose(records, self.position, route, min(_ROUND_BYTES, kafka.max_record_bytes))
        self._more = chosen is not None
        return chosen

    async def _deliver(self, chosen: Round) -> None:
        """Sends a round until all of it is in Kafka."""
        pending = dict(chosen.copies)
        apps = {record.app for copies in pending.values() for record, _ in copies if record.app}
        while pending:
            trouble = await self._attempt(pending, chosen, apps)
            if trouble is not None:
                await self._start_over(trouble)
        for place, copies in chosen.copies.items():
            self.position.sequences[place] = copies[-1][0].sequence
        self.position.sequence = chosen.through
        self._moved.set()
        self._rounds += 1
        self._records += chosen.records
        self._backoff = _BACKOFF[0]
        self._failures = 0
        if self._told:
            self._told.clear()
            log.info("Kafka takes records again", left=self.left())

    async def _attempt(
        self,
        pending: dict[Place, list[tuple[LogRecord, int]]],
        chosen: Round,
        apps: set[str],
    ) -> Exception | None:
        """Sends what is pending, and takes away what has arrived; returns what else has happened."""
        try:
            sender = await self._connected(apps)
            now_us = self._now_us()
            batches = {place: self._batch(copies, now_us) for place, copies in pending.items()}
            started = time.monotonic()
            results = await sender.send(batches, self._patience)
            took = time.monotonic() - started
        except (LogError, topics.TopicError):
            raise
        except Exception as error:  # aiokafka's errors are of many kinds; each means: not now
            return error
        trouble = None
        for place, result in results.items():
            if isinstance(result, Exception):
                trouble = result
                continue
            before = self.position.offsets.get(place, -1)
            if 0 <= result <= before:
                raise fork.lost(place, before, f"has gone on at offset {result}")
            self.position.offsets[place] = result + len(pending.pop(place)) - 1
        # Twice what it takes, so that attempts which have to be made anew stay rare.
        wanted = 2 * (self._patience if isinstance(trouble, TimeoutError) else took)
        if trouble is None or wanted > self._patience:
            self._patience = min(max(wanted, _PROMPT_SECONDS), self._timeout)
        return trouble

    def _now_us(self) -> int:
        """The time by which the journal would stamp a record."""
        # It may be ahead of the wall clock, where that was set back.
        self._log_time.seen(self._reader.read(self._reader.bounds()[1]).log_time_us)
        return self._log_time.now_us()

    def _batch(self, copies: list[tuple[LogRecord, int]], now_us: int) -> bytes:
        late_us = int(1e6 * max(0.0, self._patience - _PROMPT_SECONDS))
        made = batch(message(record, previous, now_us, late_us) for record, previous in copies)
        most = self._config.kafka.max_record_bytes
        if len(made) > most:  # the only record of its round
            record = copies[0][0]
            raise ValueError(
                f"record {record.sequence} of app {record.app!r} makes a message of {len(made)} bytes, and "
                f"kafka.max_record_bytes is {most}: raise it, and max.message.bytes of the app's topics; nothing is sent "
                "to Kafka until then"
            )
        return made

    # -- connections -------------------------------------------------------------------------------

    async def _connected(self, apps: set[str]) -> Sender:
        if not apps <= self._known:
            self._known |= apps
            await self._disconnect()
        if self._sender is None:
            await topics.ensure(self._config, self._known, check=not self._checked)
            if not self._checked:
                await fork.check(self._config.kafka, self._wanted_offsets(), self._reader)
                self._checked = True
            self._sender = Sender(self._config.kafka.bootstrap, self._timeout)
            await self._sender.open([self._config.topic(app) for app in self._known])
        return self._sender

    def _wanted_offsets(self) -> dict[Place, int]:
        """Last offsets in the topics that are still in use. An app that is no longer configured may have lost its own."""
        used = {self._config.topic(app) for app in self._known}
        return {place: at for place, at in self.position.offsets.items() if place[0] in used}

    async def _start_over(self, trouble: Exception) -> None:
        """Tells of the trouble, once; cuts the connections, and waits a little."""
        self._failures += 1
        text = str(trouble) or type(trouble).__name__
        # One failure is what any change of a partition's leader looks like, and a new topic, too.
        if self._failures > 1 and text not in self._told:
            log.error("cannot send to Kafka; trying again", error=text, left=self.left())
            self._told.add(text)
        await self._disconnect()
        await asyncio.sleep(self._backoff)
        self._backoff = min(2 * self._backoff, _BACKOFF[1])

    async def _disconnect(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.close()

    async def close(self) -> None:
        """Cuts the connections. May be called again."""
        await self._disconnect()

    # -- what else there is to do ------------------------------------------------------------------

    async def report(self) -> None:
        """Tells the writer of every new position; where it is away, of the newest when it is back."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                await self.journal.report(self.position.message())
            except JournalUnavailableError:
                self._moved.set()

    async def keep_status(self) -> None:
        """Writes where it stands, again and again."""
        while True:
            self.write_status()
            await asyncio.sleep(_STATUS_SECONDS)

    def write_status(self) -> None:
        """Where it stands, for the status page."""
        try:
            replace(self._status, json.dumps(self._standing()).encode(), durable=False)
            self._unwritable = False
        except OSError as error:
            if not self._unwritable:
                log.error("cannot write the status; going on without", error=str(error))
            self._unwritable = True

    def _standing(self) -> dict[str, Any]:
        last, at = self._reader.bounds()[1], self.position.sequence
        waiting = 0.0
        if at < last:
            oldest = self._reader.read(at + 1)
            waiting = max(0.0, (self._log_time.now_us() - oldest.log_time_us) / 1e6)
        return {
            "sequence": at,
            "journal_last": last,
            "lag_records": last - at,
            "lag_seconds": round(waiting, 3),
            "kafka": self._sender is not None and not self._failures,
            "checked": self._checked,
            "rounds": self._rounds,
            "records": self._records,
        }

    async def retain(self) -> None:
        """Trims the journal now and then."""
        while True:
            await asyncio.sleep(_RETENTION_SECONDS)
            first = self._reader.bounds()[0]
            through = trimming.trim_to(self._reader, self.position.sequence, self._config.log)
            if through is None:
                continue
            log.info("trimming the journal", through=through)
            try:
                await trimming.trim(self.journal, first, through)
            except JournalUnavailableError as error:
                log.warning("cannot trim the journal; trying again later", error=str(error))
