"""The service without its journal: Python loads this at its start where PYTHONPATH names its folder.

Appends are acknowledged in the worker's own process, at once. All else is the product's own code, unchanged: what calls
cost here is what they cost but for the journal. A benchmark's alone; what is decided so is lost.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from rankd.v1 import internal_pb2
from server.journal import client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankd.v1 import log_pb2 as pb

# As long as a real one's: a folder's UUID and an incarnation.
_NODE = "00000000-0000-4000-8000-000000000000.1760000000"


class InstantJournal(client.JournalClient):
    """Acknowledges at once what nobody writes."""

    _sequences = itertools.count(1_000_000)

    @property
    def connected(self) -> bool:
        return True

    def send_all(
        self, parts: Sequence[tuple[client.Answer, Sequence[tuple[pb.Header, bytes]]]]
    ) -> None:
        for answer, records in parts:
            numbers = [next(self._sequences) for _ in records]
            answer.answered([internal_pb2.Ack(sequence=n, node=_NODE) for n in numbers])
            answer.follow()

    async def append(self, records: Sequence[pb.Record]) -> list[internal_pb2.Ack]:
        return await self.wait(self.send(records))

    async def wait(self, answer: client.Answer) -> list[internal_pb2.Ack]:
        return await answer.wait() or []

    async def run(self) -> None:
        await asyncio.Event().wait()


client.JournalClient = InstantJournal  # type: ignore[misc]  # before the worker takes it from there
