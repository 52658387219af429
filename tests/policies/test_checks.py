"""The contract suite catches what it says it catches; and policies of other distributions are found and checked."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from policies import ModelSpec, PolicyError
from policies.checks import CHECKS, check_policy
from policies.registry import names

# {name of a broken policy: the check that has to catch it}
BROKEN = {
    cls.__name__: str(cls.__doc__)
    for cls in vars(import_module("broken_policies")).values()
    if inspect.isclass(cls) and cls.__module__ == "broken_policies"
}
BY_NAME = {check.__name__: check for check in CHECKS}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken policies as a distribution of their own, found by its entry points, in child processes too."""
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    lines = [f"{name} = broken_policies:{name}" for name in BROKEN]
    (info / "entry_points.txt").write_text("\n".join(["[rankd.policies]", *lines]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parent}")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("name", "check"), BROKEN.items(), ids=BROKEN.keys())
def test_a_broken_policy_is_caught(name: str, check: str) -> None:
    """Each is epsilon_greedy, which passes all of them, with one flaw."""
    with pytest.raises((AssertionError, PolicyError, KeyError, IndexError, RuntimeWarning)):
        BY_NAME[check](ModelSpec({"type": name}))


@pytest.mark.usefixtures("installed")
def test_a_policy_of_another_distribution_is_found() -> None:
    assert set(BROKEN) <= set(names())
    BY_NAME["processes_agree"](ModelSpec({"type": "LikesLosing"}))
    with pytest.raises(PolicyError, match="did you mean 'LikesLosing'"):
        ModelSpec({"type": "LikesLoosing"}).build()


def test_check_policy_runs_every_check() -> None:
    check_policy({"type": "epsilon_greedy", "epsilon": 0.2}, min_exploration=0.1)
