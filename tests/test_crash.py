"""The short form of `python -m tests.crash`: each kind of victim once, for each family of policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stamina

from tests import crash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Retries are what this is about; nobody needs a line for each."""
    stamina.instrumentation.set_on_retry_hooks([])
    yield
    stamina.instrumentation.set_on_retry_hooks(None)


@pytest.mark.parametrize("policy", crash.POLICIES)
def test_kill_9_loses_nothing_and_doubles_nothing(policy: str, tmp_path: Path) -> None:
    outcome = crash.run(policy, rounds=5, seed=1, folder=tmp_path / "data")
    assert outcome.kills == 5
    assert outcome.learned > 0
    assert outcome.verified >= outcome.decisions
