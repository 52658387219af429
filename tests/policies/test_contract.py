"""Every installed policy, found by its entry point, against every check of the contract: a new one is tested by existing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from policies import ModelSpec
from policies.check_state import print_fingerprint, processes_agree
from policies.checks import CHECKS
from policies.registry import names

if TYPE_CHECKING:
    from collections.abc import Callable

# What each policy is tested with besides its defaults.
MORE: dict[str, list[dict[str, object]]] = {
    "linucb": [
        {"alpha": 0.0, "ridge": 0.1},
        {"model": "shared"},
        {"model": "shared", "interactions": False},
        {"model": "hybrid", "discount": 0.99},
        {"window": 100, "prior": 0.3},
    ],
    "lints": [{"model": "shared", "discount": 0.99}, {"model": "hybrid", "window": 300}],
    "auto": [
        {"bases": [{"type": "linucb", "alpha": 0.5}, {"type": "epsilon_greedy"}], "stack": False}
    ],
    "kernel": [{"memory": 40}],
    "epsilon_greedy": [{"epsilon": 0.0, "prior": 1.0}, {"discount": 0.9}],
    "exp3": [{"discount": 0.999, "gamma": 0.2}],
    "logistic_ts": [{"discount": 0.995, "interactions": "both", "samples": 64}],
    "mf": [{"explorer": "softmax", "capacity": 16, "factors": 2}],
    "sgd": [
        {"interactions": "both", "loss": "logistic", "explorer": "softmax"},
        {"explorer": "ucb", "bits": 20},
    ],
    "ucb1": [{"discount": 0.995, "alpha": 0.3}],
    "kl_ucb": [{"window": 300}],
    "softmax": [{"window": 300, "temperature": 0.1}],
    "river": [{"explorer": "bootstrap", "members": 3, "interactions": "both"}],
    "vw": [{"args": "--ccb_explore_adf --squarecb -q :i -q :a -l 2"}],
    "thompson_beta": [{"discount": 0.995}],
    "thompson_gaussian": [{"window": 300, "prior": 0.9}],
}
SPECS = {
    " ".join([name, *(f"{k}={v}" for k, v in settings.items())]): ModelSpec(
        {"type": name, **settings}
    )
    for name in names()
    for settings in [{}, *MORE.get(name, [])]
}
SPECS["linucb raw, no floor, rewards 0..5"] = ModelSpec(
    {"type": "linucb"}, standardise=False, min_exploration=0.0, reward_range=(0.0, 5.0)
)
# What a model does for every policy. Chance pays 0.3 of the range in the suite's problem, so errors there do rise and fall.
SPECS["linucb, restarted, new actions"] = ModelSpec(
    {"type": "linucb"},
    drift={"detector": "page_hinkley", "on": "residual", "action": "restart", "threshold": 1.0},
    new_actions={"share": 0.1, "until": 5},
)
SPECS["softmax, explores more after drift"] = ModelSpec(
    {"type": "softmax"},
    drift={
        "detector": "ddm",
        "action": "explore",
        "rounds": 4,
        "warm_start": 5,
        "drift_threshold": 0.5,
    },
)


ARGUMENTS = {name: json.dumps(asdict(spec)) for name, spec in SPECS.items()}
PRINT = """
import sys
from policies.check_state import print_fingerprint
for argument in sys.argv[1:]:
    print_fingerprint(argument)
    print(flush=True)
"""


@pytest.mark.parametrize(
    "check",
    [check for check in CHECKS if check != processes_agree],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_contract(spec: ModelSpec, check: Callable[[ModelSpec], None]) -> None:
    check(spec)


@pytest.fixture(scope="module")
def elsewhere() -> list[dict[str, str]]:
    """The fingerprint of each spec, as two processes print it that hash strings differently."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PRINT, *ARGUMENTS.values()],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    printed = [run.communicate()[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    return [dict(zip(SPECS, lines, strict=True)) for lines in printed]


@pytest.mark.parametrize("name", SPECS)
def test_processes_agree(
    name: str, elsewhere: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """What the check of that name says, without two processes for each spec, which take longer to start than to learn."""
    print_fingerprint(ARGUMENTS[name])
    here = capsys.readouterr().out
    assert [there[name] for there in elsewhere] == [here, here]
