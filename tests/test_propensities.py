"""The short form of `python -m tests.propensities`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.registry import names
from tests import propensities

if TYPE_CHECKING:
    from pathlib import Path


def test_every_policy_draws_as_often_as_its_log_says(tmp_path: Path) -> None:
    found = propensities.run(750, tmp_path / "data")
    assert sorted(found) == names()
    for app in found:
        propensities.check(found[app], app, 750)
