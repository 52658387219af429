"""The hybrid model, written with residuals, against algorithm 2 as the paper has it, with inverses of numpy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from policies import PolicyError
from policies.linear.design import BIAS
from policies.pack import pack, unpack
from policies.registry import create, restore
from tests.policies.sparse_events import action_set, features, interaction
from tests.policies.test_linucb import RANGE, random_log

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies.linear.policy import LinearPolicy
    from tests.policies.sparse_events import Sparse

X = [BIAS, 11, 12, 13, 21, 22]
Z = [*X, *((i, j) for i in (11, 12, 13) for j in (21, 22))]


def x_of(context: Sparse, own: Sparse) -> NDArray[np.float64]:
    values = {BIAS: 1.0, **context, **own}
    return np.array([values.get(i, 0.0) for i in X])


def z_of(context: Sparse, own: Sparse) -> NDArray[np.float64]:
    values: dict[Any, float] = {BIAS: 1.0, **context, **own}
    values.update({(i, j): context[i] * own[j] for i in context for j in own})
    return np.array([values.get(i, 0.0) for i in Z])


class Paper:
    """Algorithm 2, line by line, with lambda * I where the paper has I."""

    def __init__(self, ridge: float) -> None:
        self.ridge = ridge
        self.a0, self.b0 = ridge * np.eye(len(Z)), np.zeros(len(Z))
        self.arms: dict[str, list[Any]] = {}

    def arm(self, a: str) -> list[Any]:
        fresh = [self.ridge * np.eye(len(X)), np.zeros((len(X), len(Z))), np.zeros(len(X))]
        return self.arms.setdefault(a, fresh)

    def mean_and_covariance(
        self, things: list[tuple[str, NDArray[np.float64], NDArray[np.float64]]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means by lines 9 and 12; variances by line 13, s_t,a; covariances are those of z - B' A^-1 x under A0^-1."""
        inv, beta = np.linalg.inv(self.a0), np.linalg.solve(self.a0, self.b0)
        mean, w, own = [], [], []
        for a, x, z in things:
            big_a, big_b, b = self.arm(a)
            theta = np.linalg.solve(big_a, b - big_b @ beta)
            mean.append(z @ beta + x @ theta)
            ax = np.linalg.solve(big_a, x)
            s = z @ inv @ z - 2 * z @ inv @ big_b.T @ ax + x @ ax
            s += ax @ big_b @ inv @ big_b.T @ ax
            w.append(z - big_b.T @ ax)
            own.append(s - w[-1] @ inv @ w[-1])
        return np.array(mean), np.array(w) @ inv @ np.array(w).T + np.diag(own)

    def learn(self, a: str, x: NDArray[np.float64], z: NDArray[np.float64], r: float) -> None:
        big_a, big_b, b = self.arm(a)
        self.a0 += big_b.T @ np.linalg.solve(big_a, big_b)
        self.b0 += big_b.T @ np.linalg.solve(big_a, b)
        big_a += np.outer(x, x)
        big_b += np.outer(x, z)
        b += r * x
        self.a0 += np.outer(z, z) - big_b.T @ np.linalg.solve(big_a, big_b)
        self.b0 += r * z - big_b.T @ np.linalg.solve(big_a, b)


def policy(kind: str, **settings: object) -> LinearPolicy:
    return create({"type": kind, "model": "hybrid", **settings}, RANGE)  # type: ignore[return-value]


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
def test_it_is_algorithm_2(*, dense: bool) -> None:
    linucb, lints, paper = policy("linucb", alpha=0.7, ridge=2.0), policy("lints"), Paper(2.0)
    for context, things, chosen, reward in random_log(60, dense=dense):
        rows = [(a, x_of(context, own), z_of(context, own)) for a, own in things.items()]
        mean, covariance = paper.mean_and_covariance(rows)
        c, a = features(context), action_set(things)
        expected = mean + 0.7 * np.sqrt(np.diag(covariance))
        assert linucb.pmf(c, a, 0).scores == pytest.approx(expected, rel=1e-8, abs=1e-12)
        assert linucb.expected(c, a) == pytest.approx(mean, rel=1e-8, abs=1e-12)
        linucb.learn([interaction(context, things, chosen, reward)])
        lints.learn([interaction(context, things, chosen, reward)])
        paper.learn(chosen, *rows["abc".index(chosen)][1:], reward)


def test_scores_vary_together() -> None:
    """As z has it, once every feature is known; then nothing is left out either."""
    made, paper = policy("lints", scale=2.0), Paper(1.0)
    log = random_log(40)
    for context, things, chosen, reward in log:
        made.learn([interaction(context, things, chosen, reward)])
        paper.learn(chosen, x_of(context, things[chosen]), z_of(context, things[chosen]), reward)
    for context, things, _, _ in log[:5]:
        rows = [(a, x_of(context, own), z_of(context, own)) for a, own in things.items()]
        mean, covariance = paper.mean_and_covariance(rows)
        found = made._regression.joint(features(context), action_set(things))
        assert found[0] == pytest.approx(mean, rel=1e-8)
        assert found[1] == pytest.approx(np.tril(covariance), rel=1e-8)


def test_a_new_action_begins_with_what_all_have_in_common() -> None:
    hybrid, disjoint = policy("linucb"), create({"type": "linucb"}, RANGE)
    for made in (hybrid, disjoint):
        for t in range(90):
            value = (-1.0) ** t
            made.learn([interaction({5: value}, {"abc"[t % 3]: {}}, "abc"[t % 3], value)])
    new = features({5: 1.0}), action_set({"new": {}})
    expected = hybrid.expected(*new)
    assert expected is not None
    assert expected[0] > 0.7
    assert disjoint.expected(*new).tolist() == [0.0]  # type: ignore[union-attr]


def test_states_that_fit_no_model_are_refused() -> None:
    made = policy("linucb")
    made.learn([interaction(*each) for each in random_log(30)])
    header, arrays = unpack(made.state())
    config = {"type": "linucb", "model": "hybrid"}
    assert restore(config, RANGE, pack(header, arrays)).state() == made.state()
    for name, array in arrays.items():
        broken = [{other: x for other, x in arrays.items() if other != name}]
        broken += [{**arrays, name: wrong} for wrong in (array[:-1], np.append(array, array[-1:]))]
        if array.dtype == np.float64:
            broken.append({**arrays, name: np.where(np.arange(len(array)) == 3, np.nan, array)})
        for changed in broken:
            with pytest.raises(PolicyError):
                restore(config, RANGE, pack(header, changed))
