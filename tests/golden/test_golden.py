"""Logs that earlier versions wrote, and what they must fold to for ever."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from server.exports.jsonl import ExportSource
from server.fold.verify import verify

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text())


def test_every_log_has_an_expectation() -> None:
    assert sorted(EXPECTED) == sorted(str(p.relative_to(HERE)) for p in HERE.rglob("*.jsonl"))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_it_folds_to_the_same_state(name: str) -> None:
    expected = EXPECTED[name]
    result = verify(ExportSource(HERE / name))
    assert result.mismatches == 0, result.first_mismatch
    if all(version(library) == number for library, number in expected["libraries"].items()):
        assert (result.verified, result.unverifiable) == (expected["decisions"], 0)
        assert result.states == {"default": expected["state_sha256"]}
    else:  # the arithmetic is another library's: verify must say so, and not guess
        assert (result.verified, result.unverifiable) == (0, expected["decisions"])
