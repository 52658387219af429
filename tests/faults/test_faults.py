"""The fault suite in short: a few faults of each kind. `python -m tests.faults --rounds 50` is the whole of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.checks import CannotInjectError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.usefixtures("can_start_kafka", "can_start_redis")
@pytest.mark.parametrize("name", FAULTS)
def test_fault(name: str, tmp_path: Path) -> None:
    try:
        FAULTS[name](tmp_path, 2, 1)
    except CannotInjectError as error:
        pytest.skip(str(error))
