"""What one check of `rankd validate` found."""

from __future__ import annotations

from typing import NamedTuple


class Check(NamedTuple):
    """One check and what it found."""

    name: str
    passed: bool
    found: str
