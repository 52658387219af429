"""The service over a real journal, in one process: what is refused before it can do harm, and what the log says when the writer was away."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from server.config import Config
from server.journal import client, wire
from server.journal.client import JournalClient
from server.journal.store import JournalReader, Store
from server.journal.writer import Writer
from server.sections import CHECKED
from server.serving.errors import (
    InvalidArgumentError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)
from server.serving.models import Served
from server.serving.service import DecisionService
from server.serving.validation import GROUPS
from tests.server.harness import CALL
from tests.server.scribe import APP, SETTINGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from server.fold.settings import FoldSettings

# Seconds that an append may take.
TIMEOUT = 1.0
SLOTWISE = SETTINGS.model_copy(update={"policy": {"type": "vw", "args": "--ccb_explore_adf"}})


class OneModel:
    """Serves one model, that knows nothing yet."""

    def __init__(self, settings: FoldSettings = SETTINGS) -> None:
        self._served = Served(settings, settings.spec().build(), 1, 0, (0, 1, 0))

    def get(self, app: str) -> Served:
        return self._served


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """The journal's writer, in a thread."""
    ready = threading.Event()
    made: list[Writer] = []

    def run() -> None:  # SQLite's connections are their thread's
        own = Store(folder / "journal.sqlite")
        made.append(Writer(own, folder / "socket"))
        ready.set()
        made[0].run()
        own.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(CALL)
    try:
        yield
    finally:
        made[0].stop()
        thread.join()


@contextlib.asynccontextmanager
async def serving(
    folder: Path, models: OneModel | None = None
) -> AsyncIterator[tuple[DecisionService, JournalClient]]:
    """A service, and its journal's client."""
    config = Config.model_validate({"apps": {APP: {}}}, context=CHECKED)
    journal = JournalClient(folder / "socket", TIMEOUT)
    running = asyncio.create_task(journal.run())
    try:
        async with asyncio.timeout(CALL), asyncio.TaskGroup() as late:
            yield (
                DecisionService(
                    config, cast("Any", models or OneModel()), journal, late, lambda: 1_000
                ),
                journal,
            )
    finally:
        running.cancel()
        await asyncio.wait([running])
        await asyncio.sleep(0)  # for its transport to close


def asked(event_id: str = "", **more: Any) -> api.RankRequest:
    return api.RankRequest(app=APP, event_id=event_id, action_ids=["a", "b"], **more)


def logged(folder: Path) -> list[str]:
    """What the log has, record by record, without ticks."""
    with contextlib.closing(JournalReader(folder / "journal.sqlite")) as journal:
        return [
            pb.Activation.Cause.Name(pb.Activation.FromString(record.payload).cause)
            if record.kind == pb.KIND_ACTIVATION
            else pb.Kind.Name(record.kind)
            for record in journal.records(0)
            if record.kind != pb.KIND_TICK
        ]


def test_a_decision_that_was_never_sent_is_not_logged_as_undelivered_beside_its_retry(
    tmp_path: Path,
) -> None:
    """The writer comes back when the first caller has been given up, and word of that waits for it."""

    async def run() -> None:
        async with serving(tmp_path) as (service, journal):
            said = asyncio.Event()
            append = journal.append

            async def appended(records: Any) -> Any:
                said.set()
                return await append(records)

            journal.append = appended  # type: ignore[method-assign]
            with pytest.raises(UnavailableError):
                await service.rank(asked("event"))
            await said.wait()
            retry = asyncio.create_task(service.rank(asked("event")))
            with writing(tmp_path):
                assert (await retry).action_id

    asyncio.run(run())
    assert logged(tmp_path) == ["KIND_DECISION", "CAUSE_UNDELIVERED", "CAUSE_REDELIVERED"]


def test_memory_is_bounded_where_the_writer_is_there_and_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound, payload = 1 << 20, "x" * 50_000
    monkeypatch.setattr(client, "_BEHIND", bound)
    monkeypatch.setattr(client, "_SEND", bound)  # which the kernel keeps, and some as much again
    refused: list[ServiceError] = []

    async def flood() -> None:
        async with serving(tmp_path) as (service, journal):
            while not journal.connected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

            async def call() -> None:
                request = asked()
                request.context.add(categorical_names=["c"], categorical_values=[payload])
                with contextlib.suppress(UnavailableError, ResourceExhaustedError):
                    await service.rank(request)

            async with asyncio.TaskGroup() as calls:
                for _ in range(100):  # 5 MB
                    calls.create_task(call())
                    await asyncio.sleep(0.001)
                    if journal.behind:
                        break
            with pytest.raises(ResourceExhaustedError) as caught:
                await service.rank(asked())
            refused.append(caught.value)

    async def run() -> None:
        end = asyncio.Event()

        async def stalled(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            cast("Any", writer.transport).pause_reading()
            await end.wait()
            writer.transport.abort()

        async with await asyncio.start_unix_server(stalled, tmp_path / "socket") as listener:
            try:
                await flood()
            finally:
                end.set()
                listener.close()
                await asyncio.sleep(0.01)

    asyncio.run(run())
    assert refused[0].retry_after  # type: ignore[attr-defined]


def test_records_that_no_frame_holds_are_refused_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME", 10_000)

    async def run() -> None:
        async with serving(tmp_path) as (service, _):
            with pytest.raises(ResourceExhaustedError, match="at most 10000 at a time"):
                await service.rank_batch([asked()] * 500)
            assert (await service.rank(asked())).action_id

    with writing(tmp_path):
        asyncio.run(run())
    assert logged(tmp_path) == ["KIND_DECISION"]


def test_a_file_that_somebody_else_has_locked_is_not_a_full_disk(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (service, journal):
            journal._timeout = 5.0
            other = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
            with contextlib.closing(other):
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(UnavailableError, match=r"cannot be written now.*retry"):
                    await service.rank(asked("event"))
                other.execute("ROLLBACK")
            assert (await service.rank(asked("event"))).action_id

    with writing(tmp_path):
        asyncio.run(run())
    assert logged(tmp_path) == ["KIND_DECISION"]


# -- requests that would take long -----------------------------------------------------------------


@pytest.mark.parametrize("field", ["context", "action_features"])
def test_groups_of_features_are_counted(tmp_path: Path, field: str) -> None:
    request = asked()
    for _ in range(GROUPS + 1):
        getattr(request, field).add()

    async def run() -> None:
        async with serving(tmp_path) as (service, _):
            with pytest.raises(InvalidArgumentError, match=f"{field}.*1001 groups"):
                await service.rank(request)

    asyncio.run(run())


def slots(count: int) -> api.RankRequest:
    return api.RankRequest(app=APP, action_ids=[f"a{i}" for i in range(200)], k=count)


def test_scores_for_each_slot_are_counted(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, OneModel(SLOTWISE)) as (service, _):
            with pytest.raises(InvalidArgumentError, match=r"k.*40000 scores; at most 20000"):
                await service.rank(slots(200))
            assert len((await service.rank(slots(10))).slot_ids) == 10

    with writing(tmp_path):
        asyncio.run(run())


def test_slots_of_one_pmf_are_not(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as (service, _):
            assert len((await service.rank(slots(200))).slot_ids) == 200

    with writing(tmp_path):
        asyncio.run(run())


def test_others_have_their_turn_between_requests_with_slots(tmp_path: Path) -> None:
    async def run() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async with serving(tmp_path, OneModel(SLOTWISE)) as (service, journal):
            busy = asyncio.create_task(others())
            sent, before = journal.send_all, 0

            def send(parts: Any) -> None:
                nonlocal before
                before = turns
                sent(parts)

            journal.send_all = send  # type: ignore[method-assign]
            await service.rank_batch([slots(3)] * 8)
            busy.cancel()
            return before

    with writing(tmp_path):
        assert asyncio.run(run()) >= 6  # seven times; others begin a turn later
