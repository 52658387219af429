"""Every fault by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.kill import kill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.checks import Outcome

# name -> function(folder, rounds, seed): injects, checks, and raises AssertionError where anything does not hold.
FAULTS: dict[str, Callable[[Path, int, int], Outcome]] = {
    "kill": kill,
}
