"""LinTS: its posterior against the formulas, its probabilities against many draws, and what it earns on real data."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from policies.linear import kernels
from policies.linear.design import BIAS
from policies.linear.joint import cholesky, frequencies
from policies.linear.lints import LinTS
from policies.linear.normals import normals, random_bits
from policies.registry import create
from tests.policies.sparse_events import action_set, features, interaction
from tests.policies.test_linucb import RANGE, SEGMENTS, Textbook, play_segments, random_log

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 20_000
# Four standard deviations of a frequency of so many draws.
NOISE = 4 * 0.5 / np.sqrt(DRAWS)


def policy(**settings: object) -> LinTS:
    made = create({"type": "lints", **settings}, RANGE)
    assert isinstance(made, LinTS)
    return made


def brute_force(mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    drawn = np.random.default_rng(1).multivariate_normal(mean, covariance, DRAWS)
    return np.bincount(drawn.argmax(axis=1), minlength=len(mean)) / DRAWS


def test_untrained_by_hand() -> None:
    """x = (1, 3) and (1, 4) under A = I: means 0, standard deviations of different widths, so chances are even."""
    answer = policy().pmf(features({}), action_set({"a": {1: 3.0}, "b": {2: 4.0}}), 0)
    assert answer.scores.tolist() == [0.0, 0.0]
    assert answer.pmf == pytest.approx([0.5, 0.5], abs=1e-3)


def test_two_actions_by_hand() -> None:
    """After one reward of 1: theta = 1/2, variance 1/2. P(b > a) = Phi(0.5 / sqrt(0.25 + 0.25 / 2)) = Phi(0.8165)."""
    made = policy(scale=0.5)
    made.learn([interaction({}, {"a": {}, "b": {}}, "b", 1.0)])
    answer = made.pmf(features({}), action_set({"a": {}, "b": {}}), 0)
    assert answer.pmf == pytest.approx([0.20711, 0.79289], abs=1e-4)


@pytest.mark.parametrize("scale", [0.1, 2.0])
def test_disjoint_follows_the_posterior(scale: float) -> None:
    made = policy(scale=scale)
    books = {a: Textbook(scale, 1.0, [BIAS, 11, 12, 13, 21, 22]) for a in "abc"}
    log = random_log(40)
    for context, things, chosen, reward in log:
        made.learn([interaction(context, things, chosen, reward)])
        books[chosen].learn({BIAS: 1.0, **context, **things[chosen]}, reward)
    for context, things, _, _ in log[:5]:
        answer = made.pmf(features(context), action_set(things), 0)
        x = {a: {BIAS: 1.0, **context, **things[a]} for a in "abc"}
        mean = np.array([books[a].mean(x[a]) for a in "abc"])
        sd = np.array([books[a].score(x[a]) for a in "abc"]) - mean
        assert answer.scores == pytest.approx(mean)
        assert (
            answer.scores.tolist() == made.expected(features(context), action_set(things)).tolist()
        )
        assert answer.pmf == pytest.approx(brute_force(mean, np.diag(sd**2)), abs=NOISE)


def test_shared_follows_the_joint_posterior() -> None:
    """Whose correlations matter: all scores have the same bias and context."""
    made = policy(model="shared", interactions=False, samples=10_000)
    order = [BIAS, 11, 12, 13, 21, 22]
    book = Textbook(0.5, 1.0, [*order, 91, 92, 93])
    ids = {"a": 91, "b": 92, "c": 93}
    log = random_log(30)
    for context, things, chosen, reward in log:
        made.learn([interaction(context, things, chosen, reward)])
        book.learn({BIAS: 1.0, **context, **things[chosen], ids[chosen]: 1.0}, reward)
    for context, things, _, _ in log[:5]:
        answer = made.pmf(features(context), action_set(things), 5)
        x = np.array([book.x({BIAS: 1.0, **context, **things[a], ids[a]: 1.0}) for a in "abc"])
        mean = x @ np.linalg.solve(book.a, book.b)
        covariance = 0.25 * x @ np.linalg.solve(book.a, x.T)
        assert answer.scores == pytest.approx(mean)
        assert answer.pmf == pytest.approx(brute_force(mean, covariance), abs=2 * NOISE)


def test_shared_leaves_out_what_is_the_same_for_all() -> None:
    """A context feature never seen has an enormous variance here, but lifts both scores alike."""
    made = policy(model="shared", interactions=False)
    things: dict[str, dict[int, float]] = {"a": {}, "b": {}}
    for _ in range(300):
        for a in "ab":
            made.learn([interaction({}, things, a, float(a == "b"))])
    answer = made.pmf(features({7: 1e4}), action_set(things), 3)
    assert answer.pmf.tolist() == [0.5 / 101, 100.5 / 101]


@pytest.mark.parametrize("model", ["disjoint", "shared"])
def test_draw_is_one_draw_of_the_pmf(model: str) -> None:
    made = policy(model=model, samples=10_000)
    log = random_log(30)
    made.learn([interaction(*each) for each in log])
    context, things, _, _ = log[3]
    c, a = features(context), action_set(things)
    drawn = [made.draw(c, a, seed) for seed in range(4_000)]
    assert [made.draw(c, a, seed) for seed in range(9)] == drawn[:9]
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert shares == pytest.approx(made.pmf(c, a, 1).pmf, abs=0.04)


def test_no_probability_is_zero_and_the_seed_decides() -> None:
    made = policy(model="shared", samples=10)
    c, a = features({}), action_set({a: {} for a in "abcdefghijklmnop"})
    pmf = made.pmf(c, a, 1).pmf
    assert pmf.min() >= 1 / 16 / 11 * (1 - 1e-12)
    assert pmf.tolist() == made.pmf(c, a, 1).pmf.tolist()
    assert pmf.tolist() != made.pmf(c, a, 2).pmf.tolist()


@pytest.mark.parametrize("rank", [1, 5, 20])
def test_cholesky(rank: int) -> None:
    """Also where the covariance has a lower rank, as that of many actions with few features has."""
    x = np.random.default_rng(rank).normal(size=(20, rank))
    covariance = x @ x.T
    root = np.zeros((20, 20))
    for j, column in enumerate(cholesky(np.tril(covariance))):
        root[20 - len(column) :, j] = column
    assert root @ root.T == pytest.approx(covariance, abs=1e-9)


def test_frequencies_do_not_depend_on_how_draws_are_chunked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mean, found = np.linspace(0, 1, 6), set()
    for chunk in (1, 100, 10**6):
        monkeypatch.setattr("policies.linear.joint._CHUNK", chunk)
        found.add(frequencies(mean, np.eye(6), 7, 333).tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("seed", range(20))
def test_covariances_are_the_same_bits_compiled_and_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d, k = int(rng.integers(1, 40)), int(rng.integers(1, 30))
    n, root = int(rng.integers(1, d + 1)), rng.normal(size=(d, d))
    at = np.array([np.sort(rng.choice(d, n, replace=False)) for _ in range(k)])
    known, x, answers = rng.random((k, n)) < 0.8, rng.normal(size=(k, n)), []
    for chosen in (kernels.kernels(), kernels.NUMPY):
        out = np.diag(np.arange(k, dtype=np.float64))
        chosen.covariance(root @ root.T, at, known, x, out)
        answers.append(out)
    assert answers[0].tobytes() == answers[1].tobytes()
    dense = np.zeros((k, d))
    np.put_along_axis(dense, at, np.where(known, x, 0.0), axis=1)
    expected = np.tril(dense @ root @ root.T @ dense.T) + np.diag(np.arange(k))
    assert answers[0] == pytest.approx(expected)


def test_normals_are_normal() -> None:
    """Against moments, each within 4 standard errors; and finite at both ends of the random bits."""
    z = normals(
        random_bits(3, np.arange(2, dtype=np.uint64))[:, np.newaxis],
        np.arange(50_000, dtype=np.uint64),
    )
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / n)
    assert abs((z[0] * z[1]).mean()) < 4 / np.sqrt(n / 2)


def test_it_is_good_on_real_data() -> None:
    """Chance and the best fixed action earn 1 / 7."""
    spec = SEGMENTS.__class__(
        {"type": "lints", "scale": 0.2}, min_exploration=0.02, reward_range=RANGE
    )
    assert np.mean(play_segments(spec, 0)[-500:]) >= 0.8


def test_raw_features_do_no_harm() -> None:
    made, random = policy(model="shared"), Random(3)
    for t in range(100):
        context = {i: random.choice([-1e6, 1e6, 0.1]) for i in (11, 12)}
        things = {a: {i: random.choice([-1e6, 1e6, 0.1]) for i in (21, 22)} for a in "ab"}
        assert np.isfinite(made.pmf(features(context), action_set(things), t).pmf).all()
        made.learn([interaction(context, things, "ab"[t % 2], float(t % 3 == 0))])
