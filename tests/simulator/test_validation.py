"""What a pass over a log finds: false probabilities, missing support, disorder, names that came twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.features import NO_FEATURES, encode_actions
from simulator.logs import Decided, Matured
from simulator.support import Support, at_best
from simulator.validation import Validation, validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.logs import Event


class Listed:
    """A log of decisions in a list, each with a reward of 0."""

    name = "listed"
    reward_range = None

    def __init__(self, rows: Sequence[Decided]) -> None:
        self.rows = rows
        self.counters: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Event]:
        for row in self.rows:
            yield row
            yield Matured(row, 0.0)


def played(mu: list[float], logged: list[float], n: int, seed: int, whole: bool) -> Validation:
    """n draws from `mu`, of which the log says that they were from `logged`."""
    rng = np.random.default_rng(seed)
    actions = encode_actions([f"a{k}" for k in range(len(mu))], [])
    pmf = np.array(logged)
    rows = [
        Decided(str(i), 0, NO_FEATURES, actions, k, pmf if whole else None, logged[k], at=i)
        for i, k in enumerate(rng.choice(len(mu), n, p=mu).tolist())
    ]
    return validate(Listed(rows))


SOUND = [
    [0.5, 0.5],
    [0.98, 0.01, 0.01],
    [0.999, 0.001],
    [1.0],
    [1.0, 0.0],
    [0.955, *[0.005] * 9],
    [0.9, 0.05, 0.05, 0.0],
]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("n", [1, 10, 300, 3_000])
@pytest.mark.parametrize("mu", [mu for mu in SOUND if 0.0 not in mu or mu == [1.0, 0.0]])
def test_true_probabilities_raise_no_alarm(mu: list[float], n: int, whole: bool) -> None:
    for seed in range(10):
        found = played(mu, mu, n, seed, whole)
        drift = found.propensities.weight if whole else found.weight
        assert not drift.too_far(1)


@pytest.mark.parametrize("whole", [True, False])
def test_probabilities_that_were_not_played_are_found(whole: bool) -> None:
    for mu, logged in (([0.5, 0.5], [0.9, 0.1]), ([0.95, 0.05], [0.5, 0.5])):
        found = played(mu, logged, 2_000, 1, whole)
        far = [found.propensities.weight.too_far(1), found.weight.too_far(1)]
        far += [drift.too_far(2) for drift in found.propensities.actions.values()]
        assert any(far) or (logged == [0.5, 0.5] and not whole)  # there all weights are 1


def test_an_action_that_is_never_taken_without_pmfs_to_say_so() -> None:
    """Uniform over two of three: the mean weight is 2/3, and no chance explains it."""
    found = played([0.5, 0.5, 0.0], [0.5, 0.5, 0.0], 1_000, 1, whole=False)
    assert found.weight.total == pytest.approx(-1_000 / 3)
    assert found.weight.too_far(1)


def test_support_by_hand() -> None:
    """(1/9) (1/.5 + 1/.5) = 4/9 of squared weight, so 9/4 of the rows; a third of the uniform policy is not there."""
    support = Support()
    support.add([0.5, 0.5, 0.0], ["a", "b", "c"])
    assert support.share == pytest.approx(9 / 4)
    assert support.unsupported == pytest.approx(1 / 3)
    assert support.exploration == 0.0
    assert support.rarest() == ("c", 0.0)
    assert not support.suffices
    support = Support()
    for _ in range(200):
        support.add([0.96, 0.04], ["a", "b"])
    assert support.share == pytest.approx(1 / (0.25 * (1 / 0.96 + 1 / 0.04)))
    assert support.exploration == pytest.approx(0.08)
    assert support.suffices
    assert support.too_short


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_the_best_that_a_propensity_allows_is_no_worse_than_the_truth(
    masses: list[float], k: int
) -> None:
    mu = np.array(masses) / np.sum(masses)
    true, best = Support(), Support()
    true.add(mu.tolist())
    best.add(at_best(float(mu[k % len(mu)]), len(mu)))
    assert best.share >= true.share * (1 - 1e-9)
    assert best.unsupported <= true.unsupported


def row(i: int, key: str = "", second: float | None = None) -> Decided:
    actions = encode_actions(["a", "b"], [])
    time = None if second is None else int(second * 1e6)
    pmf = np.array([0.5, 0.5])
    return Decided(key or str(i), 0, NO_FEATURES, actions, 0, pmf, 0.5, at=i + 1, time_us=time)


def test_order_by_time() -> None:
    sorted_ = validate(Listed([row(i, second=i) for i in range(100)])).order
    assert (sorted_.rows, sorted_.falls, sorted_.disorder) == (100, 0, 0.0)
    late = validate(Listed([row(i, second=i - 3 * (i % 2)) for i in range(1_000)])).order
    assert late.falls == 500  # every second one
    assert late.greatest_us == 2_000_000
    assert late.where is not None
    assert late.disorder < 0.01
    rng = np.random.default_rng(1)
    shuffled = validate(Listed([row(0, second=s) for s in rng.permutation(1_000)])).order
    assert 0.4 < shuffled.disorder < 0.6
    assert validate(Listed([row(0)])).order.rows == 0


@given(st.lists(st.integers(0, 4), max_size=12))
@settings(max_examples=200, deadline=None)
def test_duplicates_are_counted_and_the_earliest_found(names: list[int]) -> None:
    found = validate(Listed([row(i, key=f"k{name}") for i, name in enumerate(names)]))
    assert found.duplicates == len(names) - len(set(names))
    if not found.duplicates:
        assert found.duplicate is None
        return
    second = next(i for i, name in enumerate(names) if name in names[:i])
    assert found.duplicate is not None
    assert found.duplicate.second.at == second + 1
    assert found.duplicate.first.at == names.index(names[second]) + 1


def test_slots_of_a_decision_are_no_duplicates() -> None:
    assert not validate(Listed([row(0, "e"), replace(row(1, "e"), slot=1)])).duplicates


def test_a_propensity_that_is_not_the_pmfs() -> None:
    rows = [row(0), replace(row(1), propensity=0.50003), replace(row(2), propensity=0.4)]
    found = validate(Listed(rows))
    assert found.contradictions == 1
    assert found.contradiction is rows[2]


def test_rates_of_thinning_and_an_empty_log() -> None:
    found = validate(Listed([row(0), replace(row(1), weight=4.0)]))
    assert found.weights == {1.0, 4.0}
    empty = validate(Listed([]))
    assert (empty.decided, empty.matured, empty.duplicates) == (0, 0, 0)
