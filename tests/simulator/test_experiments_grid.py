"""Grids: which candidates a spec stands for, in which order, and what is said of one that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from policies import PolicyError
from policies.registry import find, names
from simulator.experiments import candidates_of

if TYPE_CHECKING:
    from pathlib import Path


def spelled(*specs: str) -> list[str]:
    return [each.name for each in candidates_of(specs)]


def test_the_last_setting_varies_fastest_and_defaults_are_last() -> None:
    assert spelled("linucb:alpha=[0.1,2],model=shared,ridge=[3,5]") == [
        "linucb:alpha=0.1,model=shared,ridge=3",
        "linucb:alpha=0.1,model=shared,ridge=5",
        "linucb:alpha=2,model=shared,ridge=3",
        "linucb:alpha=2,model=shared,ridge=5",
        "linucb:model=shared",
    ]


def test_each_knows_its_defaults() -> None:
    first, *_, default = candidates_of(["linucb:alpha=[0.1,2],ridge=3"])
    assert first.policy == {"type": "linucb", "alpha": 0.1, "ridge": 3}
    assert first.default == default
    assert default.policy == {"type": "linucb", "ridge": 3}
    assert default.default is None


def test_repetitions_are_left_out() -> None:
    # alpha=0.3 is the default.
    assert spelled("linucb:alpha=[0.3,1,1.0]", "linucb", "uniform") == [
        "linucb:alpha=0.3",
        "linucb:alpha=1",
        "uniform",
    ]


def test_options_of_vw() -> None:
    assert spelled("vw:--cb_explore_adf --epsilon [0.05,0.2] [-q ::,-l 0.1]") == [
        "vw:--cb_explore_adf --epsilon 0.05 -q ::",
        "vw:--cb_explore_adf --epsilon 0.05 -l 0.1",
        "vw:--cb_explore_adf --epsilon 0.2 -q ::",
        "vw:--cb_explore_adf --epsilon 0.2 -l 0.1",
        "vw",
    ]


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("{type: linucb, alpha: [0.1, 2], ridge: 3}")
    found = candidates_of([str(path)])
    assert [each.name for each in found] == [
        f"{path}:alpha=0.1",
        f"{path}:alpha=2",
        f"{path}:defaults",
    ]
    assert [each.policy.get("alpha") for each in found] == [0.1, 2, None]
    path.write_text("{type: linucb, alpha: 2}")
    assert spelled(str(path)) == [str(path)]


def test_a_setting_that_is_a_list_is_one_value() -> None:
    base = "auto:bases=[{type: linucb, alpha: 1}, {type: sgd}]"
    (only,) = candidates_of([base])
    assert only.policy["bases"] == [{"type": "linucb", "alpha": 1}, {"type": "sgd"}]
    several = candidates_of(["auto:bases=[[{type: linucb}],[{type: sgd}]]"])
    assert [each.policy.get("bases") for each in several] == [
        [{"type": "linucb"}],
        [{"type": "sgd"}],
        None,
    ]


@pytest.mark.parametrize("name", names())
def test_no_other_policy_has_a_setting_that_a_grid_would_take_apart(name: str) -> None:
    lists = {
        setting
        for setting, field in find(name).Settings.model_fields.items()
        if isinstance(field.get_default(call_default_factory=True), (list, tuple))
    }
    assert lists <= {"bases"}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("linucb:alpha=[0.1,-1]", "--policy linucb:alpha=-1: alpha"),
        ("linucb:alpah=[0.1,1]", "--policy linucb:alpah=0.1: alpah"),
        ("linucb:alpha=[0.1,,1]", "a value of the grid is missing"),
        ("linucb:alpha=[]", "a value of the grid is missing"),
        ("linuc:alpha=[1,2]", "--policy linuc:alpha=[1,2]: type: no policy 'linuc'"),
    ],
)
def test_what_cannot_be_is_named(spec: str, says: str) -> None:
    with pytest.raises(PolicyError) as error:
        candidates_of([spec])
    assert says in str(error.value)
    assert str(error.value).count("--policy") == 1


@pytest.mark.parametrize("values", ["[]", "[0.1, -1]"])
def test_what_cannot_be_in_a_file_is_named(tmp_path: Path, values: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"{{type: linucb, alpha: {values}}}")
    with pytest.raises(PolicyError, match=r"--policy .*p\.yaml"):
        candidates_of([str(path)])
