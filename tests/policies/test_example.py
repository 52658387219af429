"""The example of a policy of one's own keeps the contract, once it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from policies import registry
from policies.checks import check_policy

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]


def test_a_policy_from_another_distribution_is_found_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    example = (ROOT / "examples" / "decaying_epsilon.py").read_text()
    said = next(line.strip() for line in example.splitlines() if "DecayingEpsilon" in line)
    (info / "entry_points.txt").write_text(f"[rankd.policies]\n{said.replace(chr(34), '')}\n")
    (tmp_path / "decaying_epsilon.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for the check that starts processes
    try:
        check_policy({"type": "decaying_epsilon"})
    finally:
        registry.find.cache_clear()
