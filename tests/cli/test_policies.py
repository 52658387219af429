"""`rankd policies`: what there is to choose from, and all that a person needs to choose."""

from __future__ import annotations

import json

import pytest

from policies.registry import find, names
from tests.cli.conftest import rankd


def test_every_policy_is_listed_with_what_it_is_for() -> None:
    shown = rankd("policies")
    assert shown.code == 0
    for name in names():
        assert f"\n{name}\n" in f"\n{shown.out}"
    assert shown.out.count("use it:") == shown.out.count("explores:") == len(names())


@pytest.mark.parametrize("name", names())
def test_every_setting_is_shown_with_its_default(name: str) -> None:
    shown = rankd("policies", name)
    assert shown.code == 0
    for setting in find(name).Settings.model_fields:
        assert f"    {setting} = " in shown.out


def test_for_programs() -> None:
    found = json.loads(rankd("policies", "--json").out)
    assert sorted(found) == names()
    alpha = found["linucb"]["settings"]["alpha"]
    assert alpha["default"] == 0.3
    assert "confidence" in alpha["meaning"]
    assert found["linucb"]["settings"]["model"]["structural"]


def test_an_unknown_policy_is_named_with_the_nearest() -> None:
    result = rankd("policies", "linuc")
    assert result.code == 1
    assert "did you mean 'linucb'?" in result.err


@pytest.mark.parametrize("name", names())
def test_whoever_chooses_is_told_what_for(name: str) -> None:
    about = find(name).about
    assert about is not None
    assert all(about)
