"""What a decision costs without any transport: the service's own code, from bytes to bytes, in one process. Decisions are made as many at a time
as a busy service makes them.

    python -m benchmarks.serve_decision DATA_FOLDER KIND ACTIONS

Prints processor microseconds for each decision. The data folder is that of a service which is running or has run.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from benchmarks import serve_requests
from benchmarks.unjournalled.sitecustomize import InstantJournal
from rankd.v1 import decisions_pb2 as api
from server.config import Config
from server.files import DataFolder
from server.sections import CHECKED
from server.serving.errors import ServiceError
from server.serving.gathering import MOST
from server.serving.models import Models
from server.serving.service import DecisionService

# Seconds of each of so many measurements; the least disturbed one counts.
_SECONDS = 0.4
_ROUNDS = 5


async def measure(folder: DataFolder, data: bytes) -> float:
    """Processor microseconds for one decision."""
    config = Config.model_validate_json(folder.config.read_bytes(), context=CHECKED)
    models = Models(folder, sorted(config.apps), 0.01)
    watching = asyncio.create_task(models.run())
    while not models.complete:  # noqa: ASYNC110  # what it watches is a file
        await asyncio.sleep(0.01)
    watching.cancel()
    journal = InstantJournal(folder.socket, 1.0)
    async with asyncio.TaskGroup() as tasks:
        service = DecisionService(config, models, journal, tasks, lambda: time.time_ns() // 1_000)
        best = float("inf")
        for _ in range(_ROUNDS):
            done, started = 0, time.process_time()
            while time.process_time() - started < _SECONDS:
                requests = [api.RankRequest.FromString(data) for _ in range(MOST)]
                for reply in await service.rank_batch(requests):
                    assert not isinstance(reply, ServiceError)
                    reply.SerializeToString()
                done += MOST
            best = min(best, (time.process_time() - started) / done)
    return best * 1e6


if __name__ == "__main__":
    _, where, kind, actions = sys.argv
    asked = serve_requests.request(kind, int(actions)).SerializeToString()
    print(asyncio.run(measure(DataFolder(Path(where)), asked)))
