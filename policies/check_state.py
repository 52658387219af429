"""The part of the contract suite that is about state: one log gives one state, everywhere, and nothing else loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from policies.check_problem import (
    ROUNDS,
    ask,
    assert_refused,
    play,
    request,
    trained,
)
from policies.model import ModelSpec, state_sha256
from policies.registry import restore

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies.model import Model


def state_round_trips(spec: ModelSpec) -> None:
    """load(state).state() is the state, bit by bit, trained or not; and a loaded model lives on its own."""
    for rounds in (0, 1, ROUNDS):
        model = trained(spec, rounds)
        state = model.state()
        assert model.state() == state, f"two states of one model differ, after {rounds} rounds"
        copy = spec.load(state)
        assert copy.state() == state, f"the state of the loaded model differs, {rounds} rounds"
        play(copy, 5, number=7)
        assert model.state() == state, "learning in a loaded model changed the one it came from"


def resumed_equals_uninterrupted(spec: ModelSpec) -> None:
    """A learner reloads itself at fixed places of the log; one that starts from the state stored there goes on equally."""
    log = [played.encode() for played in play(spec.build(), 2 * ROUNDS)]
    model = spec.build()
    stored = b""
    for t, interaction in enumerate(log):
        if t % 20 == 0:
            if t == ROUNDS:
                stored = model.state()
            model = model.reload()
        model.learn([interaction])
    resumed = spec.load(stored)
    for t, interaction in enumerate(log[ROUNDS:]):
        if t % 20 == 0:
            resumed = resumed.reload()
        resumed.learn([interaction])
    assert resumed.state() == model.state(), "a resumed learner came to another state"


def processes_agree(spec: ModelSpec) -> None:
    """The same log gives the same state and the same answer in every process, whatever PYTHONHASHSEED is."""
    code = "import sys; from policies.check_state import print_fingerprint as p; p(sys.argv[1])"
    argument = json.dumps({**asdict(spec), "policy": dict(spec.policy)})
    runs = [
        subprocess.Popen(  # noqa: S603  # this interpreter, this module
            [sys.executable, "-c", code, argument],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    answers = [run.communicate()[0].strip() for run in runs]
    assert all(run.returncode == 0 for run in runs), "a process failed; see its standard error"
    here = _fingerprint(spec)
    assert answers == [here, here], f"in this process {here}, in others {answers}"


def damaged_state_is_refused(spec: ModelSpec) -> None:
    """A state that was cut or changed, of the model or of the policy within, is refused and never loaded."""
    model = trained(spec)
    for what, state, load in _loaders(spec, model):
        size = len(state)
        for cut in {0, 1, 8, 20, size // 4, size // 2, size - 17, size - 8, size - 1} & set(
            range(size)
        ):
            assert_refused(f"{what} cut at {cut} of {size}", load, state[:cut])
        for at in range(0, size, max(1, size // 40)):
            bad = bytearray(state)
            bad[at] ^= 1
            assert_refused(f"{what}, byte {at} changed", load, bytes(bad))
        assert_refused(f"{what} and a byte more", load, state + b"\0")


def foreign_state_is_refused(spec: ModelSpec) -> None:
    """The state of another policy, or bytes that are no state at all."""
    other = "epsilon_greedy" if spec.policy["type"] == "uniform" else "uniform"
    foreign = ModelSpec({"type": other}).build()
    for what, _, load in _loaders(spec, spec.build()):
        for name, data in (
            (f"model of {other}", foreign.state()),
            (f"policy {other}", foreign.policy.state()),
            ("noise", bytes(range(256))),
            ("a pickle", b"\x80\x04K\x01."),
        ):
            assert_refused(f"{what}: {name}", load, data)


def _loaders(
    spec: ModelSpec, model: Model
) -> tuple[tuple[str, bytes, Callable[[bytes], object]], ...]:
    """(what, its state, what loads it) for the model and for the policy within."""
    return (
        ("state of the model", model.state(), spec.load),
        (
            "state of the policy",
            model.policy.state(),
            lambda data: restore(spec.policy, spec.reward_range, data),
        ),
    )


def _fingerprint(spec: ModelSpec) -> str:
    model = trained(spec)
    scored = ask(model, request(1))
    return f"{state_sha256(model.state())} {scored.pmf.tolist()} {scored.scores.tolist()}"


def print_fingerprint(argument: str) -> None:
    """For `processes_agree`: prints the fingerprint of a spec that was written as JSON."""
    fields = json.loads(argument)
    fields["reward_range"] = tuple(fields["reward_range"])
    sys.stdout.write(_fingerprint(ModelSpec(**fields)))
