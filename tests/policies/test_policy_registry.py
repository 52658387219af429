"""Policies by name: found, made, and told apart; a wrong name is answered by the nearest right one."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from policies import EpsilonGreedy, LinUCB, ModelSpec, PolicyError
from policies.registry import create, find, libraries, names, restore, same_shape, settings_of

if TYPE_CHECKING:
    from pathlib import Path

RANGE = (-1.0, 1.0)


def test_ours_are_installed() -> None:
    assert {"epsilon_greedy", "linucb", "river", "uniform", "vw"} <= set(names())
    assert names() == sorted(names())
    assert find("linucb") is LinUCB


@pytest.mark.parametrize("name", names())
def test_every_setting_is_documented(name: str) -> None:
    cls = find(name)
    assert cls.name == name
    undocumented = [key for key, x in cls.Settings.model_fields.items() if not x.description]
    assert not undocumented
    derived = {name for name, what in vars(cls.Settings).items() if isinstance(what, property)}
    assert cls.structural <= set(cls.Settings.model_fields) | derived


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "type: is missing; known are .*linucb"),
        ({"type": "linUBC"}, "type: no policy 'linUBC'; did you mean 'linucb'"),
        ({"type": "zzz"}, "type: no policy 'zzz'; known are .*uniform"),
        ({"type": None}, "type: no policy 'None'"),
        ({"type": "linucb", "alhpa": 1}, "alhpa: linucb has no such setting; did you mean 'alpha'"),
        ({"type": "uniform", "x": 1}, "x: uniform has no such setting; it has none"),
        ({"type": "linucb", "alpha": "much"}, "alpha: .*number"),
        ({"type": "linucb", "alpha": -1.0}, "alpha: .*greater than or equal to 0"),
        ({"type": "linucb", "alpha": float("nan")}, "alpha: .*finite"),
        ({"type": "linucb", "model": "both"}, "model: .*'disjoint', 'shared' or 'hybrid'"),
        ({"type": "linucb", "dimensions": 1}, "dimensions"),
        ({"type": "epsilon_greedy", "epsilon": 1.5}, "epsilon"),
    ],
)
def test_wrong_configurations_are_told(config: dict[str, object], words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        create(config, RANGE)
    with pytest.raises(PolicyError, match=words):
        ModelSpec(config).build()


def test_create_and_restore() -> None:
    policy = create({"type": "epsilon_greedy", "prior": 0.5}, RANGE)
    assert isinstance(policy, EpsilonGreedy)
    assert restore({"type": "epsilon_greedy"}, RANGE, policy.state()).state() == policy.state()


def test_settings_are_frozen_and_have_defaults() -> None:
    _, settings = settings_of({"type": "linucb", "alpha": 0.5})
    assert settings.model_dump() == {
        "alpha": 0.5,
        "ridge": 1.0,
        "model": "disjoint",
        "interactions": True,
        "dimensions": 256,
        "discount": 1.0,
        "window": 0,
        "prior": 0.0,
        "priors": {},
    }
    with pytest.raises(ValueError, match="frozen"):
        settings.alpha = 1.0  # type: ignore[attr-defined]


def test_which_changes_let_learning_go_on() -> None:
    before = {"type": "linucb"}
    assert same_shape(before, {"type": "linucb", "alpha": 0.1})
    assert same_shape(before, {"type": "linucb", "model": "disjoint"})
    assert not same_shape(before, {"type": "linucb", "model": "shared"})
    assert not same_shape(before, {"type": "linucb", "ridge": 2.0})
    assert not same_shape(before, {"type": "uniform"})


def test_libraries_that_an_epoch_depends_on() -> None:
    assert libraries({"type": "linucb"}) == ["policies.linucb==1", "policies==1"]
    assert f"vowpalwabbit=={version('vowpalwabbit')}" in libraries({"type": "vw"})


def test_an_entry_point_that_is_no_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    lines = ["[rankd.policies]", "a_class = fractions:Fraction", "a_function = json:dumps"]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("a_class", "a_function"):
        with pytest.raises(PolicyError, match=f"'{name}' is not a policy"):
            find(name)
