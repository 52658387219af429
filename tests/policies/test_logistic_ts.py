"""Logistic Thompson sampling against the paper's own minimisation, and its two ways to a pmf against each other."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, ndtr

from policies import LogisticTS, PolicyError
from policies.best_of import best_of_normals
from policies.hashed.logistic_ts import _residual
from policies.hashed.rows import rows_of
from policies.pack import pack, unpack
from policies.registry import create, restore, same_shape
from tests.policies.sparse_events import Sparse, action_set, features, interaction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from policies import ActionSet, Features

RANGE = (0.0, 1.0)


def policy(**settings: object) -> LogisticTS:
    made = create({"type": "logistic_ts", **settings}, RANGE)
    assert isinstance(made, LogisticTS)
    return made


def pmf(
    of: LogisticTS, context: Sparse, things: dict[str, Sparse], seed: int
) -> NDArray[np.float64]:
    return of.pmf(features(context), action_set(things), seed).pmf


def table(of: LogisticTS) -> dict[int, tuple[float, float]]:
    _, a = unpack(of.state())
    pairs = zip(a["mean"].tolist(), a["precision"].tolist(), strict=True)
    return dict(zip(a["slot"].tolist(), pairs, strict=True))


def test_first_step_by_hand() -> None:
    """Bias and id, both 1, ridge 2: a = 1 - p with p the probability of a margin of 2 a / 2."""
    made = policy(ridge=2.0)
    made.learn([interaction({}, {"a": {}}, "a", 1.0)])
    a = _residual(0.0, 1.0, 1.0)
    assert a == pytest.approx(1.0 - expit(a), abs=1e-15)
    assert list(table(made).values()) == [pytest.approx((a / 2, a * (1 - a)))] * 2


@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("z", "v"), [(0.0, 1.0), (5.0, 0.1), (-3.0, 40.0), (800.0, 1e6), (1.0, 0.0)]
)
def test_the_residual_solves_its_equation(z: float, v: float, y: float) -> None:
    a = _residual(z, v, y)
    assert y - 1 <= a <= y
    # Where the margin changes fast, the equation is met between two neighbouring numbers.
    near = expit(z + v * np.array([a - 1e-15, a + 1e-15]))
    assert near[0] - 1e-12 <= y - a <= near[1] + 1e-12


def test_a_step_minimises_what_the_paper_minimises() -> None:
    """Algorithm 3, line 'find w as the minimizer', by a library's optimiser, for 8 rewards in turn, some of them shares."""
    made = policy(bits=20, ridge=0.7)
    random = Random(1)
    index: dict[int, int] = {}
    m, q = np.zeros(0), np.zeros(0)
    for _ in range(8):
        context = {i: random.gauss(0, 1) for i in random.sample(range(50, 60), 3)}
        things = {a: {70 + random.randrange(5): 1.0} for a in "ab"}
        chosen, y = random.choice("ab"), random.choice([0.0, 0.25, 1.0])
        rows = rows_of(features(context), action_set({chosen: things[chosen]}), "action_id", 20)
        slot, value = rows.whole()
        for i in slot.tolist():
            index.setdefault(i, len(index))
        x = np.zeros(len(index))
        x[[index[i] for i in slot.tolist()]] = value
        m = np.concatenate((m, np.zeros(len(index) - len(m))))
        q = np.concatenate((q, np.full(len(index) - len(q), 0.7)))

        def objective(w: NDArray[np.float64]) -> float:
            z = float(w @ x)  # noqa: B023
            loss = np.logaddexp(0, z) - y * z  # noqa: B023
            return float(0.5 * (q * (w - m) ** 2).sum() + loss)  # noqa: B023

        m = minimize(objective, m, method="BFGS", options={"gtol": 1e-9}).x
        p = expit(m @ x)
        q = q + x * x * p * (1 - p)
        made.learn([interaction(context, things, chosen, y)])
    got = table(made)
    for i, j in index.items():
        assert got[i] == pytest.approx((m[j], q[j] - 0.7), abs=1e-5)


def test_independent_actions_have_the_exact_pmf() -> None:
    """No features in common: by quadrature, so that the seed does not matter; for two actions it is a formula."""
    made = policy(scale=0.8)
    for t in range(9):
        made.learn([interaction({5: 0.5}, {"a": {}, "b": {}}, "ab"[t % 2], float(t % 2))])
    things: dict[str, Sparse] = {"a": {}, "b": {}}
    rows = rows_of(features({5: 0.5}), action_set(things), "action_id", 18)
    posterior = table(made)
    mean, variance = np.zeros(2), np.zeros(2)
    for k, slot, x in zip(rows.row, rows.slot.tolist(), rows.value, strict=True):
        m, q = posterior[slot]
        mean[k] += m * x
        variance[k] += 0.8**2 * x * x / (1.0 + q)
    a = ndtr((mean[0] - mean[1]) / np.sqrt(variance.sum()))
    got = pmf(made, {5: 0.5}, things, 1)
    assert got == pytest.approx([a, 1 - a], abs=2e-3)
    assert (got == pmf(made, {5: 0.5}, things, 2)).all()


def test_correlated_actions_are_counted_by_their_joint_posterior() -> None:
    """a and b share one feature of weight 3, which shifts both alike: between them only their ids decide. Against c it
    does. The truth by brute force; taken for independent it would be another."""
    made = policy(samples=16_384, scale=1.0)
    things = {"a": {9: 3.0}, "b": {9: 3.0}, "c": {}}
    random = np.random.default_rng(1)
    own, shared = random.normal(size=(400_000, 3)), random.normal(size=(400_000, 1))
    scores = own + shared * np.array([3.0, 3.0, 0.0])
    want = np.bincount(scores.argmax(axis=1), minlength=3) / 400_000
    got = pmf(made, {}, things, 1)
    assert got == pytest.approx(want, abs=0.012)  # 3 standard errors of 16,384 draws
    independent = best_of_normals(np.zeros(3), np.sqrt([10.0, 10.0, 1.0]))
    assert abs(independent[2] - want[2]) > 0.1


def test_counted_pmfs_depend_on_the_seed_alone() -> None:
    made = policy(samples=64)
    things = {"a": {9: 1.0}, "b": {9: 2.0}}
    first = pmf(made, {}, things, 1)
    assert (pmf(made, {}, things, 1) == first).all()
    assert any((pmf(made, {}, things, seed) != first).any() for seed in range(2, 6))


def test_what_all_have_alike_cancels() -> None:
    """A context without crossings changes scores, and no pmf."""
    made = policy(interactions="none")
    for t in range(6):
        made.learn([interaction({5: 2.0}, {"a": {}, "b": {}}, "ab"[t % 2], float(t % 3 == 0))])
    things: dict[str, Sparse] = {"a": {}, "b": {}}
    assert (pmf(made, {5: 2.0}, things, 1) == pmf(made, {}, things, 1)).all()
    with_context = made.expected(features({5: 2.0}), action_set(things))
    assert (with_context != made.expected(features({}), action_set(things))).all()


def test_a_share_is_learned_as_that_share() -> None:
    """Always 0.3 of the range [-1, 1]: expected is -0.4, and the pmf's width goes on falling."""
    made = create({"type": "logistic_ts"}, (-1.0, 1.0))
    for _ in range(2000):
        made.learn([interaction({}, {"a": {}}, "a", -0.4)])
    got = made.expected(features({}), action_set({"a": {}}))
    assert got is not None
    assert got[0] == pytest.approx(-0.4, abs=0.01)


def test_scale_is_how_much_it_explores() -> None:
    shares = []
    for scale in (0.1, 0.5, 2.0):
        made = policy(scale=scale)
        for t in range(4):
            made.learn([interaction({}, {"a": {}, "b": {}}, "ab"[t % 2], float(t % 2))])
        shares.append(float(pmf(made, {}, {"a": {}, "b": {}}, 1)[0]))
    assert 0.0 <= shares[0] < shares[1] < shares[2] < 0.5


def test_what_shapes_the_state() -> None:
    before = {"type": "logistic_ts"}
    assert same_shape(before, {**before, "scale": 2.0, "samples": 99})
    made = policy()
    assert len(made.state()) < 1000
    made.learn([interaction({}, {"a": {}}, "a", 1.0)])
    for change in ({"bits": 19}, {"ridge": 2.0}, {"interactions": "none"}):
        with pytest.raises(PolicyError, match="expected"):
            restore({**before, **change}, RANGE, made.state())
    header, arrays = unpack(made.state())
    arrays["precision"] = -arrays["precision"]
    with pytest.raises(PolicyError, match="negative"):
        restore(before, RANGE, pack(header, arrays))


def test_a_discount_forgets_how_sure_it_was() -> None:
    """The bias's and the id's first precision, a (1 - a), is halved before the second reward and again before the third."""
    made = policy(discount=0.5)
    a = _residual(0.0, 2.0, 1.0)
    made.learn([interaction({}, {"a": {}}, "a", 1.0)])
    assert made._q(np.flatnonzero(made._precision)) == pytest.approx([1.0 + a * (1.0 - a)] * 2)
    once = next(iter(table(made).values()))[1] / made._unit
    made.learn([interaction({}, {"b": {}}, "b", 0.0)] * 2)
    (slot,) = rows_of(*_event("a"), "none", 18).slot
    assert made._precision[slot] / made._unit == pytest.approx(once / 4)


def test_precisions_stay_finite_and_old_ones_vanish() -> None:
    made = policy(discount=0.5)
    made.learn([interaction({}, {"old": {}}, "old", 1.0)])
    made.learn([interaction({}, {"new": {}}, "new", 1.0)] * 2_000)
    (slot,) = rows_of(*_event("old"), "none", 18).slot
    assert made._precision[slot] / made._unit < 1e-100
    assert (
        restore({"type": "logistic_ts", "discount": 0.5}, RANGE, made.state()).state()
        == made.state()
    )


def _event(action: str) -> tuple[Features, ActionSet]:
    return features({}), action_set({action: {}})
