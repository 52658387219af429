"""Bandit feedback as arrays: what goes in comes out, and contradictions are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.logs import ArraysLog, Decided, LogFormatError, Matured, open_log
from simulator.logs.arrays import read_npz
from simulator.logs.named import Named

if TYPE_CHECKING:
    from pathlib import Path


def feedback(seed: int = 0, n: int = 5, k: int = 3, d: int = 2) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    pi = rng.dirichlet(np.ones(k), n)
    action = rng.integers(k, size=n)
    return {
        "n_rounds": n,
        "n_actions": k,
        "context": rng.normal(size=(n, d)),
        "action_context": rng.normal(size=(k, d + 1)),
        "action": action,
        "position": None,  # as obp says that there are none
        "reward": rng.normal(size=n),
        "pi_b": pi[:, :, np.newaxis],
        "pscore": pi[np.arange(n), action],
        "expected_reward": rng.normal(size=(n, k)),
    }


@given(st.integers(0, 99), st.integers(0, 6), st.integers(1, 5), st.integers(0, 4))
def test_arrays_read_back(seed: int, n: int, k: int, d: int) -> None:
    given = feedback(seed, n, k, d)
    log = ArraysLog(given)
    events = list(log)
    assert len(events) == 2 * n == len(list(log))
    for i in range(n):
        decided, matured = events[2 * i : 2 * i + 2]
        assert isinstance(decided, Decided)
        assert isinstance(matured, Matured)
        assert matured.decision is decided
        assert matured.reward == given["reward"][i]
        assert (decided.key, decided.slot, decided.chosen) == (str(i), 0, given["action"][i])
        assert decided.propensity == given["pscore"][i]
        assert decided.pmf is not None
        assert np.array_equal(decided.pmf, given["pi_b"][i, :, 0])
        assert decided.actions.ids == tuple(map(str, range(k)))
        expected = Named()
        for j, value in enumerate(given["context"][i]):
            expected.number("", f"x{j}", value)
        assert np.array_equal(decided.context.index, expected.encode().index)
        assert np.array_equal(decided.context.value, expected.encode().value)
        assert sorted(decided.actions.of(k - 1).value) == sorted(given["action_context"][k - 1])


def test_least_is_enough() -> None:
    small = {"context": [[1], [2]], "action": [0, 2], "reward": [0, 1], "pscore": [0.5, 0.25]}
    decided = [event for event in ArraysLog(small) if isinstance(event, Decided)]
    assert [d.propensity for d in decided] == [0.5, 0.25]
    assert [d.pmf for d in decided] == [None, None]
    assert decided[0].actions.ids == ("0", "1", "2")


def test_positions_have_pmfs_of_their_own() -> None:
    given = feedback(n=2, k=2) | {"position": [1, 0], "action": [0, 1], "pscore": None}
    given["pi_b"] = [[[0.1, 0.2], [0.9, 0.8]], [[0.3, 0.4], [0.7, 0.6]]]
    one, two = (event for event in ArraysLog(given) if isinstance(event, Decided))
    assert (one.slot, one.propensity) == (1, 0.2)
    assert (two.slot, two.propensity) == (0, 0.7)


def test_a_file_of_arrays(tmp_path: Path) -> None:
    given = feedback()
    path = tmp_path / "log.npz"
    np.savez(path, **{key: value for key, value in given.items() if value is not None})
    log = open_log(path, reward_range=(0.0, 1.0))
    assert log.name == str(path)
    assert log.reward_range == (0.0, 1.0)
    rewards = [event.reward for event in log if isinstance(event, Matured)]
    assert rewards == given["reward"].tolist()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(LogFormatError, match=r"log\.npz: not a whole \.npz"):
        read_npz(path)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e300])
def test_actions_that_are_no_numbers_are_refused_where_nothing_says_how_many_there_are(
    odd: float,
) -> None:
    small = {"context": [[1], [2]], "action": [0, odd], "reward": [0, 1], "pscore": [0.5, 0.25]}
    with pytest.raises(LogFormatError, match=r"row 1: action is|greatest action"):
        list(ArraysLog(small))


def test_a_damaged_file_of_packed_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.npz"
    given = {key: value for key, value in feedback(n=500).items() if value is not None}
    np.savez_compressed(path, **given)
    data = path.read_bytes()
    for at in range(100, 4_000, 100):
        path.write_bytes(data[:at] + b"\xff" * 20 + data[at + 20 :])
        try:
            read_npz(path)
        except LogFormatError as error:
            assert "copy it again" in str(error)  # noqa: PT017  # some bytes may be changed without harm


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "log.npz", context=np.array([{}], object))
    with pytest.raises(LogFormatError, match=r"not a whole \.npz of arrays"):
        read_npz(tmp_path / "log.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": None}, "reward is missing; found n_rounds"),
        ({"pscore": None, "pi_b": None}, "pscore .or pi_b. is missing"),
        ({"context": [1, 2, 3, 4, 5]}, r"context is \[5\] beside 5"),
        ({"reward": [1.0]}, r"reward is \[1\] beside 5"),
        ({"n_actions": 4}, "the number of actions differs"),
        ({"context": [["x"]] * 5}, "not arrays of numbers"),
        ({"action": [0, 1, 2, 3, 0]}, "row 3: action is 3: must be from 0 to 2"),
        ({"action": [-1, 1, 2, 1, 0]}, "row 0: action is -1"),
        ({"action": [0.5, 1, 2, 1, 0]}, "row 0: action is 0.5: must be a whole number"),
        ({"pscore": [0.5, 0, 1, 1, 1]}, "row 1: pscore is 0.0"),
        ({"reward": [1, 1, np.nan, 1, 1]}, "row 2: the reward is nan"),
        ({"context": [[np.inf]] * 5}, "row 0: .*finite"),
        ({"pi_b": np.ones((5, 3))}, "row 0: the pmf's .* sum 3"),
        ({"position": [0, 7, 0, 0, 0]}, "row 1: .*out of bounds"),
        ({"action": [0, np.nan, 1, 1, 0]}, "row 1: action is nan: must be a whole number"),
        ({"action": [0, 1, np.inf, 1, 0]}, "row 2: action is inf: must be a whole number"),
        ({"n_actions": np.nan}, "n_actions is nan: must be a whole number of actions"),
        ({"n_actions": 2.5}, "n_actions is 2.5: must be a whole number of actions"),
        ({"action_context": [[np.nan]] * 3}, "action_context: .*finite"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LogFormatError, match=f"bandit feedback.*{message}"):
        list(ArraysLog(feedback() | changes))
