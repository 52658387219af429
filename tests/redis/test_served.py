"""What a worker serves never goes back, whatever comes into its file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rankd.v1 import internal_pb2
from server.files import DataFolder, replace
from server.fold.envelope import seal
from server.serving.models import Models
from tests.redis.harness import SECONDS, config

if TYPE_CHECKING:
    from pathlib import Path

    from server.redis.register import Version


def test_a_worker_never_goes_back_to_a_lower_lease(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    settings = config("redis://localhost", "").fold_settings("default", "00" * 16)
    state = settings.spec().build().state()

    def publish(version: Version) -> None:
        lease, epoch, published_at = version
        model = internal_pb2.Snapshot(
            app="default",
            lease=lease,
            epoch=epoch,
            published_at=published_at,
            config_json=settings.canonical(),
            policy=state,
        )
        replace(folder.snapshot("default"), seal(model), durable=False)

    async def main() -> None:
        models = Models(folder, ["default"], 0.001)
        watching = asyncio.create_task(models.run())
        best: Version = (0, 0, 0)
        for version in [
            (1, 1, 5),
            (1, 1, 4),
            (1, 2, 1),
            (1, 1, 99),
            (2, 1, 1),
            (1, 9, 99),
            (2, 1, 2),
        ]:
            publish(version)
            best = max(best, version)
            for _ in range(20):
                await asyncio.sleep(0.001)
                served = models.get("default")
                assert served is None or served.published <= best
            async with asyncio.timeout(SECONDS):
                while (served := models.get("default")) is None or served.published != best:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        watching.cancel()
        await asyncio.wait([watching])

    asyncio.run(main())
