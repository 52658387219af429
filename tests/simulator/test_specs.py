"""How policies are spelled on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from policies import PolicyError
from simulator.specs import policy_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("linucbb", "linucb"),
        ("linucb:alpah=1", "alpha"),
        ("linucb:alpha", "name=value"),
        ("linucb:alpha=[", "no value"),
        ("linucb:=1", "name=value"),
        ("nowhere.yaml", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(spec: str, says: str) -> None:
    with pytest.raises(PolicyError) as error:
        policy_of(spec)
    assert str(error.value).startswith(f"--policy {spec}: ")
    assert says in str(error.value)


@pytest.mark.parametrize("text", ["{type: lints, scale: 2}", "policy:\n  type: lints\n  scale: 2"])
def test_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    assert policy_of(str(path)) == {"type": "lints", "scale": 2}


@pytest.mark.parametrize("text", ["[1, 2]", "alpha: 1", ":::\n- {"])
def test_files_that_hold_no_policy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError, match=r"policy\.yaml: "):
        policy_of(str(path))
