"""Samples from arrays of pmfs: against a replay of the same log, row by row, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.features import NO_FEATURES, encode_actions
from simulator.logs import Decided
from simulator.replay import _row
from simulator.sample import COLUMNS, Sample

ACTIONS = encode_actions(["a", "b", "c"], [])


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_arrays_and_rows_give_the_same_numbers(seed: int, supported: bool) -> None:
    rng = np.random.default_rng(seed)
    n = 5
    pi, mu, q = rng.dirichlet(np.ones(3), n), rng.dirichlet(np.ones(3), n), rng.random((n, 3))
    if not supported:
        mu[:2] = [0.5, 0.0, 0.5]
    action = np.array([int(rng.choice(3, p=row)) for row in mu])
    sample = Sample.of_pmfs(np.zeros(n), action, pi, mu, q)
    for i, k in enumerate(action.tolist()):
        decided = Decided(str(i), 0, NO_FEATURES, ACTIONS, k, mu[i], float(mu[i, k]))
        found = [float(getattr(sample, name)[i]) for name in COLUMNS]
        assert found == pytest.approx([0.0, mu[i, k], *_row(decided, pi[i], q[i])], rel=1e-12)


def test_propensities_alone_leave_unknown_what_needs_pmfs() -> None:
    sample = Sample.of_pmfs([1.0], [1], [[0.2, 0.8]], [0.4])
    assert sample.weight.tolist() == [2.0]
    for unknown in ("q_pi", "expected_square", "w_max", "w_min", "unsupported"):
        assert np.isnan(getattr(sample, unknown)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"pi": [[0.5, 0.5], [0.5, 0.6]]},
            "pi of row 1 has 0.5 as its least entry and the sum 1.1",
        ),
        ({"pi": [[1.5, -0.5], [0.5, 0.5]]}, "pi of row 0 has -0.5"),
        ({"pi": [[0.5, np.nan], [0.5, 0.5]]}, "pi of row 0"),
        ({"pi": [0.5, 0.5]}, "must be \\[n, K\\]"),
        ({"mu": [[0.5, 0.5], [0.2, 0.2]]}, "mu of row 1"),
        ({"mu": [0.5, 0.0]}, "mu of row 1 is 0.0"),
        ({"action": [0, 2]}, "actions from 0 to 2 of 2"),
        ({"action": [-1, 0]}, "actions from -1"),
        ({"action": [0.0, 1.0]}, "whole numbers"),
        ({"q": [[0.5], [0.5]]}, "must be alike"),
        ({"reward": [0.0, np.inf]}, "reward of row 1 is inf"),
    ],
)
def test_what_is_no_sample_is_refused(change: dict[str, Any], message: str) -> None:
    half = [[0.5, 0.5], [0.5, 0.5]]
    given: dict[str, Any] = {"reward": [0.0, 1.0], "action": [0, 1], "pi": half, "mu": half}
    with pytest.raises(ValueError, match=message):
        Sample.of_pmfs(**{**given, **change})


def test_no_rows_are_a_sample() -> None:
    assert len(Sample.of_pmfs([], np.empty(0, int), np.empty((0, 3)), np.empty((0, 3)))) == 0
