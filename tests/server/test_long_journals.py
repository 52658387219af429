"""The journals that benchmarks write in bulk are journals as a service would have written them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from benchmarks.journals import APP, World, learner_app, write
from server.fold.verify import verify
from server.journal.store import JournalReader
from server.learning.source import FolderSource

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("policy", ["linucb", "vw"])
def test_every_decision_can_be_derived_again(tmp_path: Path, policy: str) -> None:
    world = World({"type": policy}, vector_bytes=40, events_per_second=50, wait=1)
    folder = write(tmp_path / "data", world, 130, close=True)
    with closing(FolderSource(folder)) as source:
        found = verify(source)
    assert (found.verified, found.unverifiable, found.mismatches) == (130, 0, 0)
    with closing(JournalReader(folder.journal)) as reader:
        app = learner_app(folder, world, reader)
        for record in reader.records(0):
            app.step(record)
    assert found.states.keys() == {APP}
    assert app.fold.joiner is not None
    counters = {name: count for name, count in app.fold.joiner.counters.items() if count}
    assert counters == dict.fromkeys(("decisions", "rewards", "joined", "matured"), 130)
