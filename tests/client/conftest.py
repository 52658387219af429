"""One suite for both clients: an AsyncClient is driven by an event loop of its own, so that it looks like a Client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from rankd import AsyncClient, Client
from tests.client.fake_service import FakeService
from tests.server.harness import Service

if TYPE_CHECKING:
    from collections.abc import Iterator


class Connect(Protocol):
    """Makes a client of the kind that the test runs for; it is closed when the test ends."""

    def __call__(self, address: str, **settings: Any) -> Client: ...


class Blocking:
    """An AsyncClient whose calls wait for their result."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await method(*args, **kwargs)

        return lambda *args, **kwargs: self._runner.run(call(*args, **kwargs))


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with asyncio.Runner() as runner:
        clients: list[Any] = []

        def make(address: str, **settings: Any) -> Any:
            # Generous, so that a slow machine fails no test; tests about time say their own.
            settings = {"timeout": 60.0, **settings}
            if request.param == "Client":
                clients.append(Client(address, **settings))
            else:
                clients.append(Blocking(AsyncClient(address, **settings), runner))
            return clients[-1]

        yield make
        for client in clients:
            client.close()


@pytest.fixture
def fake() -> Iterator[FakeService]:
    service = FakeService()
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="session")
def service_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real service listens, with an empty configuration; all tests share it."""
    with Service(tmp_path_factory.mktemp("client") / "data") as service:
        yield f"127.0.0.1:{service.port}"


@pytest.fixture
def client(connect: Connect, service_address: str) -> Client:
    return connect(service_address)


@pytest.fixture
def nowhere(tmp_path: Any) -> str:
    """An address at which nobody listens, and nobody else can begin to."""
    return f"unix:{tmp_path}/nobody"
