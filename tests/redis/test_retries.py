"""One event, one decision, at whichever server a retry arrives: two services with journals of their own and one Redis."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from rankd.v1 import decisions_pb2 as api
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.files import DataFolder, replace
from server.fold.envelope import seal
from server.journal.client import JournalClient
from server.journal.store import JournalReader, Store
from server.journal.writer import Writer
from server.redis.lookup import Lookup
from server.serving.errors import AlreadyExistsError, InvalidArgumentError
from server.serving.models import Models
from server.serving.service import DecisionService
from tests.redis.harness import SECONDS, Keys, config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.services.redis import RunningRedis

IDS = ["a", "b", "c"]


class Journal:
    """A journal's writer in a thread of its own."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._writer: Future[Writer] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with closing(Store(self._folder.journal)) as store:
            writer = Writer(store, self._folder.socket)
            self._writer.set_result(writer)
            writer.run()

    def start(self) -> None:
        self._thread.start()
        self._writer.result(SECONDS)

    def stop(self) -> None:
        if self._thread.ident is None:
            return
        self._writer.result(SECONDS).stop()
        self._thread.join(SECONDS)


class Server:
    """What a worker has, without its transport."""

    def __init__(self, folder: Path, url: str, prefix: str) -> None:
        self.folder = DataFolder(folder)
        self.config = config(url, prefix)
        self.journal = Journal(self.folder)
        self.client = JournalClient(self.folder.socket, SECONDS)
        self.lookup = Lookup(self.config.redis)
        self.models = Models(self.folder, ["default"], 0.01)
        settings = self.config.fold_settings("default", "00" * 16)
        snapshot = internal_pb2.Snapshot(
            app="default",
            epoch=1,
            published_at=1,
            model_epoch=1,
            model_version=1,
            config_json=settings.canonical(),
            policy=settings.spec().build().state(),
        )
        replace(self.folder.snapshot("default"), seal(snapshot), durable=False)
        self.folder.socket.parent.mkdir(parents=True)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as background:
            parts = (self.client.run(), self.lookup.run(), self.models.run())
            running = [background.create_task(part) for part in parts]
            try:
                async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as late:
                    self.service = DecisionService(
                        self.config,
                        self.models,
                        self.client,
                        late,
                        lambda: time.time_ns() // 1_000,
                        self.lookup,
                    )
                    while not (self.lookup.connected and self.models.complete):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                    yield
            finally:
                for task in running:
                    task.cancel()

    def logged(self) -> Counter[str]:
        """Decisions and activations by kind, event and cause."""
        found: Counter[str] = Counter()
        with closing(JournalReader(self.folder.journal)) as reader:
            for record in reader.records(0):
                if record.kind == pb.KIND_DECISION:
                    found[f"decision {record.event_id}"] += 1
                elif record.kind == pb.KIND_ACTIVATION:
                    cause = record.message(pb.Activation).cause
                    name = pb.Activation.Cause.Name(cause).removeprefix("CAUSE_").lower()
                    found[f"{name} {record.event_id}"] += 1
        return found


@pytest.fixture
def servers(tmp_path: Path, redis_server: RunningRedis, keys: Keys) -> Iterator[list[Server]]:
    """Two; the journal of the first is not started yet."""
    made = [Server(tmp_path / name, redis_server.url, keys.prefix) for name in ("one", "two")]
    made[1].journal.start()
    try:
        yield made
    finally:
        for server in made:
            server.journal.stop()


def request(event: str, **fields: Any) -> api.RankRequest:
    return api.RankRequest(event_id=event, action_ids=IDS, **fields)


async def told(server: Server, *events: str) -> None:
    """Waits until the server can know these events."""
    async with asyncio.timeout(SECONDS):
        while set(await server.lookup.find("default", events)) != set(events):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_a_retry_at_another_server_gets_the_first_answer(servers: list[Server]) -> None:
    one, two = servers
    one.journal.start()

    async def main() -> None:
        async with one.serve(), two.serve():
            for i in range(20):
                first = await one.service.rank(request(f"e{i}"))
                await told(two, f"e{i}")
                assert await two.service.rank(request(f"e{i}")) == first
                assert await one.service.rank(request(f"e{i}")) == first

    asyncio.run(main())
    for server in servers:
        server.journal.stop()
    shown = {f"redelivered e{i}": 1 for i in range(20)}
    assert two.logged() == shown, "no decision of its own"
    assert one.logged() == {**shown, **{f"decision e{i}": 1 for i in range(20)}}


def test_another_question_about_the_same_event_is_refused(servers: list[Server]) -> None:
    one, two = servers
    one.journal.start()

    async def main() -> None:
        async with one.serve(), two.serve():
            await one.service.rank(request("e"))
            await told(two, "e")
            for other in (request("e", k=2), request("e", excluded_ids=["a"])):
                with pytest.raises(AlreadyExistsError, match="another question"):
                    await two.service.rank(other)
            with pytest.raises(InvalidArgumentError, match="excluded_ids"):
                await two.service.rank(request("e", excluded_ids=["x"]))

    asyncio.run(main())
    two.journal.stop()
    assert two.logged() == {}


def test_a_deferred_decision_waits_for_its_activation_elsewhere_too(
    servers: list[Server],
) -> None:
    one, two = servers
    one.journal.start()

    async def main() -> None:
        async with one.serve(), two.serve():
            first = await one.service.rank(request("e", defer_activation=True))
            await told(two, "e")
            assert await two.service.rank(request("e", defer_activation=True)) == first

    asyncio.run(main())
    two.journal.stop()
    assert two.logged() == {}


def test_a_batch_may_hold_known_new_and_clashing_events(servers: list[Server]) -> None:
    one, two = servers
    one.journal.start()

    async def main() -> None:
        async with one.serve(), two.serve():
            known = [await one.service.rank(request(f"known {i}")) for i in range(3)]
            own = await two.service.rank(request("own"))
            await told(two, *(f"known {i}" for i in range(3)))
            batch = [
                request("new"),
                request("known 0"),
                request("known 1", k=2),
                request(""),
                request("own"),
                request("known 2"),
                request("new"),
            ]
            new, first, clash, unnamed, again, third, twin = await two.service.rank_batch(batch)
            assert (first, third, again) == (known[0], known[2], own)
            assert isinstance(clash, AlreadyExistsError)
            assert isinstance(unnamed, api.RankReply)
            assert isinstance(new, api.RankReply)
            assert new == twin
            assert new.decision_id.startswith(own.decision_id.split(".")[0])

    asyncio.run(main())
    two.journal.stop()
    logged = two.logged()
    unnamed = [name for name in logged if len(name) == len("decision ") + 32]
    assert len(unnamed) == 1
    del logged[unnamed[0]]
    assert logged == {
        "decision own": 1,
        "decision new": 1,
        "redelivered known 0": 1,
        "redelivered known 2": 1,
        "redelivered own": 1,
        "redelivered new": 1,
    }


def test_ids_that_the_server_makes_are_kept_out_of_redis(servers: list[Server], keys: Keys) -> None:
    one, _ = servers
    one.journal.start()

    async def main() -> None:
        async with one.serve():
            await one.service.rank(request(""))
            await one.service.rank(request("named"))
            await told(one, "named")

    asyncio.run(main())
    assert len(keys.all()) == 1


def test_a_decision_whose_caller_has_gone_is_known_elsewhere(servers: list[Server]) -> None:
    """The retry of a call that took too long is the one that comes to another server."""
    one, two = servers

    async def main() -> None:
        async with one.serve(), two.serve():
            call = asyncio.create_task(one.service.rank(request("e")))
            while not one.client.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.wait([call])
            one.journal.start()
            await told(two, "e")
            reply = await two.service.rank(request("e"))
            with closing(JournalReader(one.folder.journal)) as reader:
                (record,) = (r for r in reader.records(0) if r.kind == pb.KIND_DECISION)
            assert reply.decision_id == record.decision_id

    asyncio.run(main())
    for server in servers:
        server.journal.stop()
    assert one.logged() == {"decision e": 1, "undelivered e": 1}
    assert two.logged() == {"redelivered e": 1}


def test_without_redis_every_server_decides_alone(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And knows its own decisions from its own journal, as ever."""
    one, two = servers
    one.journal.start()

    async def main() -> None:
        async with one.serve(), two.serve():
            for server in servers:
                monkeypatch.setattr(server.lookup, "_connected", False)
            replies = [await server.service.rank(request("e")) for server in servers]
            assert replies[0].decision_id != replies[1].decision_id
            again = [await server.service.rank(request("e")) for server in servers]
            assert again == replies

    asyncio.run(main())
