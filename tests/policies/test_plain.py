"""Plain bandits by hand: means with and without forgetting, and what each rule makes of them."""

from __future__ import annotations

from math import exp, log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import beta

from policies import Interaction, PolicyError
from policies.features import encode_actions, encode_context
from policies.plain.means import Means
from policies.registry import create, restore

if TYPE_CHECKING:
    from policies import Policy, Scored

CONTEXT = encode_context([])
ABC = encode_actions(["a", "b", "c"], [])
RANGE = (0.0, 1.0)
THIRD = np.ones(3) / 3


def policy(rewards: str, **config: Any) -> Policy:
    """Of range 0 to 1, after such rewards: "a1 b0 a.5"."""
    made = create(config, RANGE)
    for reward in rewards.split():
        made.learn([Interaction(CONTEXT, ABC, "abc".index(reward[0]), THIRD, float(reward[1:]))])
    return made


def scored(rewards: str, **config: Any) -> Scored:
    return policy(rewards, **config).pmf(CONTEXT, ABC, 0)


# -- means -----------------------------------------------------------------------------------------


def test_a_discount_weighs_what_is_older_less() -> None:
    means = Means(discount=0.5, window=0)
    for action, reward in (("a", 1.0), ("b", 1.0), ("a", 0.0)):
        means.learn(action, reward)
    weight, mean = means.of(["a", "b", "never"])
    assert weight.tolist() == [1.25, 0.5, 0.0]
    assert mean == pytest.approx([0.2, 1.0, 0.0])
    assert means.total == 1.75


def test_a_window_forgets_what_is_before_it() -> None:
    means = Means(discount=1.0, window=2)
    for action, reward in (("a", 1.0), ("b", 1.0), ("b", 0.0)):
        means.learn(action, reward)
    assert [each.tolist() for each in means.of(["a", "b"])] == [[0.0, 2.0], [0.0, 0.5]]
    assert means.total == 2.0


def test_weights_stay_finite_and_what_is_forgotten_takes_no_memory() -> None:
    means = Means(discount=0.5, window=0)
    means.learn("once", 1.0)
    for _ in range(5_000):
        means.learn("a", 0.25)
    weight, mean = means.of(["a", "once"])
    assert weight == pytest.approx([2.0, 0.0])
    assert mean[0] == 0.25
    assert set(means.arms) == {"a"}


def test_only_one_way_of_forgetting() -> None:
    with pytest.raises(PolicyError, match="choose one way"):
        create({"type": "ucb1", "discount": 0.9, "window": 10}, RANGE)


@pytest.mark.parametrize("forgets", [{}, {"discount": 0.9}, {"window": 3}], ids=str)
@pytest.mark.parametrize("name", ["epsilon_greedy", "ucb1", "kl_ucb", "softmax", "thompson_beta"])
def test_a_state_goes_on_as_the_policy_did(name: str, forgets: dict[str, Any]) -> None:
    one = policy("a1 b0 c.5 a.25 b.75", type=name, **forgets)
    other = restore({"type": name, **forgets}, RANGE, one.state())
    for made in (one, other):
        made.learn([Interaction(CONTEXT, ABC, 1, THIRD, 0.125)])
    assert one.state() == other.state()
    assert one.pmf(CONTEXT, ABC, 0).pmf.tolist() == other.pmf(CONTEXT, ABC, 0).pmf.tolist()


# -- rules -----------------------------------------------------------------------------------------


def test_ucb1() -> None:
    """Prior of one reward of 0.5 each: a has (0.5 + 1 + 0) / 3, of 3 + 2 rounds."""
    found = scored("a1 a0", type="ucb1")
    untried = 0.5 + sqrt(2 * log(5))
    assert found.scores == pytest.approx([0.5 + sqrt(2 * log(5) / 3), untried, untried])
    assert found.pmf.tolist() == [0.0, 0.5, 0.5]


def test_kl_ucb_is_the_greatest_mean_within_the_divergence() -> None:
    found = scored("a1 a1 a1 b0", type="kl_ucb")
    for q, p, n in zip(found.scores, (3.5 / 4, 0.25, 0.5), (4, 2, 1), strict=True):
        divergence = p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))
        assert n * divergence == pytest.approx(log(7), rel=1e-9)
        assert q > p


def test_softmax() -> None:
    found = scored("a1 b0", type="softmax", temperature=0.25)
    powers = [exp(4 * score) for score in (0.75, 0.25, 0.5)]
    assert found.pmf == pytest.approx([power / sum(powers) for power in powers])


def test_thompson_beta_is_as_likely_as_it_is_best() -> None:
    found = scored("a1 a1 b0", type="thompson_beta")
    rng = np.random.default_rng(3)
    drawn = rng.beta([3.5, 1.5, 1.5], [1.5, 2.5, 1.5], (1_000_000, 3)).argmax(axis=1)
    assert np.abs(found.pmf - np.bincount(drawn, minlength=3) / 1e6).max() <= 0.005


def test_thompson_beta_among_many_whose_best_is_close_to_one() -> None:
    many = encode_actions([f"{k:03}" for k in range(500)], [])
    made = create({"type": "thompson_beta"}, RANGE)
    made.learn([Interaction(CONTEXT, many, 0, np.full(500, 0.002), 1.0)] * 50)
    pmf = made.pmf(CONTEXT, many, 0).pmf
    x = np.linspace(0.5, 1, 200_001)
    others = beta(1.5, 1.5)
    inner = others.cdf(x) ** 499
    learned = beta(51.5, 1.5)
    expected = float(np.sum(np.diff(learned.cdf(x)) * (inner[1:] + inner[:-1]) / 2))
    assert pmf[0] == pytest.approx(expected, abs=0.001)
    assert pmf.sum() == pytest.approx(1.0, abs=0.005)


def test_thompson_gaussian_by_hand() -> None:
    """Posteriors N(0.75, 0.25 / 2), N(0.25, 0.25 / 2): a beats b with Phi(0.5 / 0.5) = 0.8413."""
    two = encode_actions(["a", "b"], [])
    made = create({"type": "thompson_gaussian"}, RANGE)
    half = np.ones(2) / 2
    made.learn([Interaction(CONTEXT, two, k, half, 1.0 - k) for k in range(2)])
    assert made.pmf(CONTEXT, two, 0).pmf == pytest.approx([0.8413, 0.1587], abs=1e-4)


def test_a_prior_for_a_single_action() -> None:
    found = scored("", type="thompson_gaussian", priors={"b": 1.0}, prior=0.0, prior_weight=100.0)
    assert found.pmf[1] > 0.999


def test_exp3_by_hand() -> None:
    """gamma 0.3, p = 1/3 of 3 actions: ln w grows by 0.3 x; then 0.7 softmax + 0.1."""
    found = scored("a1 b.5", type="exp3", gamma=0.3)
    assert found.scores == pytest.approx([0.3, 0.15, 0.0])
    powers = [exp(score) for score in found.scores]
    assert found.pmf == pytest.approx([0.7 * power / sum(powers) + 0.1 for power in powers])


def test_exp3_forgets() -> None:
    assert scored("a1 b0", type="exp3", gamma=0.3, discount=0.5).scores == pytest.approx(
        [0.15, 0.0, 0.0]
    )


@pytest.mark.parametrize(
    ("name", "untried"), [("epsilon_greedy", 0.0), ("ucb1", 1.0), ("thompson_beta", 1.0)]
)
def test_what_is_expected_has_no_bonus(name: str, untried: float) -> None:
    """Rewards from 0 to 2; the prior of one reward is 1, the middle of the range."""
    made = create({"type": name}, (0.0, 2.0))
    for reward in (2.0, 0.5):
        made.learn([Interaction(CONTEXT, ABC, 0, THIRD, reward)])
    expected = made.expected(CONTEXT, ABC)
    mean = 1.25 if name == "epsilon_greedy" else (1.0 + 2.0 + 0.5) / 3
    assert expected == pytest.approx([mean, untried, untried])
