"""Estimators for slates: by hand, and exactly unbiased over all slates where their assumption holds."""

from __future__ import annotations

from itertools import permutations, product
from math import nan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from simulator import NotIdentifiable
from simulator.estimators import DR
from simulator.estimators.slates import (
    IIPS,
    RIPS,
    SIPS,
    SLATE_ESTIMATORS,
    CascadeDR,
    PseudoInverse,
    Slates,
    pseudo_inverse_weight,
)
from simulator.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.estimators import Mean

    Slate = tuple[int, ...]

K, L = 3, 2
MU, PI = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
REWARD = np.array([0.2, 0.5, 0.9])


class Everything(NamedTuple):
    """All slates that there are, and what the policies do with them."""

    slates: Slates
    mu: np.ndarray[tuple[int], np.dtype[np.float64]]  # of the whole slate
    pi: np.ndarray[tuple[int], np.dtype[np.float64]]
    value: float

    def expectation(self, estimator: Mean[Slates]) -> float:
        return float(self.mu @ estimator.rows(self.slates))


def without_replacement(
    p: np.ndarray[tuple[int], np.dtype[np.float64]], slate: Slate
) -> list[float]:
    """Each slot's probability given those before it, an action being drawn once only."""
    return [float(p[a] / (1 - p[list(slate[:slot])].sum())) for slot, a in enumerate(slate)]


def with_replacement(p: np.ndarray[tuple[int], np.dtype[np.float64]], slate: Slate) -> list[float]:
    return [float(p[a]) for a in slate]


def everything(reward: Callable[[Slate], list[float]], *, replacement: bool = False) -> Everything:
    """All slates of two out of three actions; marginals by summing over them."""
    conditionals = with_replacement if replacement else without_replacement
    slates = list(product(range(K), repeat=L) if replacement else permutations(range(K), L))
    mu = np.array([conditionals(MU, s) for s in slates])
    pi = np.array([conditionals(PI, s) for s in slates])
    whole_mu, whole_pi = mu.prod(axis=1), pi.prod(axis=1)
    r = np.array([reward(s) for s in slates])

    def marginals(whole: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[list[float]]:
        return [
            [
                sum(float(p) for p, t in zip(whole, slates, strict=True) if t[slot] == s[slot])
                for slot in range(L)
            ]
            for s in slates
        ]

    columns = Slates.of(r, mu, pi, mu_marginal=marginals(whole_mu), pi_marginal=marginals(whole_pi))
    return Everything(columns, whole_mu, whole_pi, float(whole_pi @ r.sum(axis=1)))


def independent(slate: Slate) -> list[float]:
    return [float(REWARD[a]) / (slot + 1) for slot, a in enumerate(slate)]


def cascade(slate: Slate) -> list[float]:
    first, second = slate
    return [float(REWARD[first]), float(REWARD[second] * (1 - REWARD[first]))]


def entangled(slate: Slate) -> list[float]:
    first, second = slate
    return [
        float(REWARD[first] * (1 - REWARD[second])),
        float(REWARD[second] * (1 - REWARD[first])),
    ]


def hand(**others: object) -> Slates:
    """Weights 2, 0.5 and 0.5, 3."""
    return Slates.of(
        [[1, 2], [4, 3]], [[0.5, 0.5], [0.4, 0.25]], [[1, 0.25], [0.2, 0.75]], **others
    )


def test_by_hand() -> None:
    marginals = {"mu_marginal": [[0.5, 0.2], [0.4, 0.5]], "pi_marginal": [[1, 0.4], [0.2, 0.25]]}
    assert SIPS().rows(hand()).tolist() == pytest.approx([3, 1.5 * 7])
    assert RIPS().rows(hand()).tolist() == pytest.approx([2 * 1 + 1 * 2, 0.5 * 4 + 1.5 * 3])
    assert IIPS().rows(hand(**marginals)).tolist() == pytest.approx(
        [2 * 1 + 2 * 2, 0.5 * 4 + 0.5 * 3]
    )
    assert SIPS().value(hand()) == pytest.approx((3 + 10.5) / 2)


@pytest.mark.parametrize("replacement", [True, False])
def test_sips_assumes_nothing(*, replacement: bool) -> None:
    for reward in (independent, cascade, entangled):
        case = everything(reward, replacement=replacement)
        assert case.expectation(SIPS()) == pytest.approx(case.value, rel=1e-12)


@pytest.mark.parametrize("replacement", [True, False])
def test_rips_assumes_a_cascade(*, replacement: bool) -> None:
    for reward in (independent, cascade):
        case = everything(reward, replacement=replacement)
        assert case.expectation(RIPS()) == pytest.approx(case.value, rel=1e-12)
    case = everything(entangled, replacement=replacement)
    assert abs(case.expectation(RIPS()) - case.value) > 0.01


@pytest.mark.parametrize("replacement", [True, False])
def test_iips_assumes_independent_slots(*, replacement: bool) -> None:
    case = everything(independent, replacement=replacement)
    assert case.expectation(IIPS()) == pytest.approx(case.value, rel=1e-12)
    case = everything(cascade, replacement=replacement)
    assert abs(case.expectation(IIPS()) - case.value) > 0.01


def test_conditionals_in_the_place_of_marginals_would_be_wrong() -> None:
    """Why IIPS refuses rather than take what is there."""
    case = everything(independent)
    s = case.slates
    wrong = Slates.of(s.reward, s.mu, s.pi, mu_marginal=s.mu, pi_marginal=s.pi)
    assert abs(case.expectation(IIPS()) - case.value) < 1e-12
    assert abs(float(case.mu @ IIPS().rows(wrong)) - case.value) > 0.01


class TestCascadeDR:
    def test_without_expectations_it_is_rips(self) -> None:
        zeros = np.zeros((2, 2))
        assert (
            CascadeDR().rows(hand(q_logged=zeros, q_pi=zeros)).tolist()
            == RIPS().rows(hand()).tolist()
        )

    def test_with_one_slot_it_is_dr(self) -> None:
        one = Slates.of(
            [[1], [0]], [[0.5], [0.25]], [[1], [0.5]], q_logged=[[2], [3]], q_pi=[[1], [4]]
        )
        same = Sample.of([1, 0], [0.5, 0.25], [1, 0.5], q_logged=[2, 3], q_pi=[1, 4])
        assert CascadeDR().rows(one).tolist() == DR().rows(same).tolist()

    def test_unbiased_whatever_the_model(self) -> None:
        rng = np.random.default_rng(5)
        first, second = rng.normal(size=K), rng.normal(size=(K, K))
        case = everything(cascade)
        s = case.slates
        slates = list(permutations(range(K), L))
        q = [[first[a], second[a, b]] for a, b in slates]
        q_pi = [
            [
                float(PI @ first),
                sum(float(PI[c] / (1 - PI[a]) * second[a, c]) for c in range(K) if c != a),
            ]
            for a, _ in slates
        ]
        with_q = Slates.of(s.reward, s.mu, s.pi, q_logged=q, q_pi=q_pi)
        assert float(case.mu @ CascadeDR().rows(with_q)) == pytest.approx(case.value, rel=1e-12)

    def test_a_perfect_model_leaves_no_noise_but_the_context(self) -> None:
        slates = list(permutations(range(K), L))

        def rest(a: int) -> float:
            return sum(float(PI[c] / (1 - PI[a])) * cascade((a, c))[1] for c in range(K) if c != a)

        s = everything(cascade).slates
        q = [[cascade((a, b))[0] + rest(a), cascade((a, b))[1]] for a, b in slates]
        value = sum(float(PI[a]) * (float(REWARD[a]) + rest(a)) for a in range(K))
        q_pi = [[value, rest(a)] for a, _ in slates]
        rows = CascadeDR().rows(Slates.of(s.reward, s.mu, s.pi, q_logged=q, q_pi=q_pi))
        assert rows.tolist() == pytest.approx([value] * len(slates), rel=1e-12)

    def test_refuses_without_a_model(self) -> None:
        with pytest.raises(NotIdentifiable, match="needs q and row 0, slot 0 has none"):
            CascadeDR().value(hand())


class TestPseudoInverse:
    def test_unbiased_for_any_sum_over_slots(self) -> None:
        case = everything(independent, replacement=True)
        assert case.expectation(PseudoInverse()) == pytest.approx(case.value, rel=1e-12)

    def test_only_the_slate_s_reward_matters(self) -> None:
        case = everything(independent, replacement=True)
        s = case.slates
        moved = np.zeros_like(s.reward)
        moved[:, 1] = s.reward.sum(axis=1)
        other = Slates.of(moved, s.mu, s.pi, mu_marginal=s.mu_marginal, pi_marginal=s.pi_marginal)
        assert PseudoInverse().rows(other).tolist() == pytest.approx(
            PseudoInverse().rows(s).tolist()
        )

    def test_refuses_slots_that_depend_on_each_other(self) -> None:
        with pytest.raises(NotIdentifiable, match="slots depend on each other"):
            PseudoInverse().value(everything(independent).slates)

    @pytest.mark.parametrize("replacement", [True, False])
    def test_general_weights(self, *, replacement: bool) -> None:
        """Unbiased for draws without replacement too, and for independent slots the short formula's."""
        case = everything(independent, replacement=replacement)
        slates = product(range(K), repeat=L) if replacement else permutations(range(K), L)
        ones = np.array(
            [[float(s[slot] == a) for slot in range(L) for a in range(K)] for s in slates]
        )
        gamma = (ones * case.mu[:, None]).T @ ones
        weights = np.array([pseudo_inverse_weight(case.pi @ ones, gamma, one) for one in ones])
        total = case.slates.reward.sum(axis=1)
        assert float(case.mu @ (weights * total)) == pytest.approx(case.value, rel=1e-9)
        if replacement:
            assert (weights * total).tolist() == pytest.approx(
                PseudoInverse().rows(case.slates).tolist()
            )

    def test_weights_where_mu_never_goes(self) -> None:
        with pytest.raises(NotIdentifiable, match="never does"):
            pseudo_inverse_weight([0.5, 0.5], [[1, 0], [0, 0]], [1, 0])
        with pytest.raises(ValueError, match="expected"):
            pseudo_inverse_weight([0.5, 0.5], [[1]], [1, 0])


class TestWhatCannotBeHad:
    @pytest.mark.parametrize("estimator", [IIPS(), PseudoInverse()], ids=lambda e: e.name)
    def test_marginals(self, estimator: Mean[Slates]) -> None:
        with pytest.raises(NotIdentifiable, match="row 0, slot 0 has no marginal"):
            estimator.value(hand())
        half = hand(mu_marginal=[[0.5, 0.5], [0.4, 0.25]], pi_marginal=[[1, 1], [1, nan]])
        with pytest.raises(NotIdentifiable, match="row 1, slot 1 has no marginal"):
            estimator.value(half)

    @pytest.mark.parametrize("estimator", [SIPS(), RIPS(), CascadeDR()], ids=lambda e: e.name)
    def test_conditionals(self, estimator: Mean[Slates]) -> None:
        gap = Slates.of([[1, 1]], [[0.5, 0.5]], [[0.5, nan]], q_logged=[[0, 0]], q_pi=[[0, 0]])
        with pytest.raises(NotIdentifiable, match="row 0, slot 1 has no conditional"):
            estimator.value(gap)

    @pytest.mark.parametrize("cls", SLATE_ESTIMATORS.values(), ids=SLATE_ESTIMATORS)
    def test_no_rows(self, cls: type[Mean[Slates]]) -> None:
        empty = np.zeros((0, 2))
        with pytest.raises(NotIdentifiable, match="no rows"):
            cls().value(Slates.of(empty, empty, empty))

    def test_below_an_impossible_slot_nothing_need_be_known(self) -> None:
        """Once pi would not have come here, its conditionals and the model's q there have no meaning."""
        slates = Slates.of(
            [[1, 1, 5]],
            [[0.5, 0.5, 0.5]],
            [[1, 0, nan]],
            q_logged=[[0.5, nan, nan]],
            q_pi=[[0.5, 0.25, nan]],
        )
        assert slates.prefix_weight().tolist() == [[2, 0, 0]]
        assert SIPS().value(slates) == 0
        assert RIPS().value(slates) == 2
        assert CascadeDR().value(slates) == 2 * 0.5 + 0.5 + 2 * 0.25


class TestSlates:
    def test_some_of_the_rows(self) -> None:
        assert len(hand()) == 2
        assert hand().rows(np.array([1, 0])).reward.tolist() == [[4, 3], [1, 2]]
        assert hand().rows(slice(1, 2)).pi.tolist() == [[0.2, 0.75]]

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"reward": [1, 2]}, r"reward: float64 \(2,\), expected"),
            ({"mu": [[0.5]]}, r"mu: float64 \(1, 1\), expected"),
            ({"reward": [[1, nan]]}, "reward of row 0, slot 1 is nan: must be finite"),
            ({"mu": [[0, 1]]}, r"mu of row 0, slot 0 is 0.0: must be in \(0, 1\]"),
            ({"mu_marginal": [[1, 1.5]]}, "mu_marginal of row 0, slot 1 is 1.5"),
            ({"pi": [[-0.5, 1]]}, "pi of row 0, slot 0 is -0.5"),
            ({"pi_marginal": [[0.5, 2]]}, "pi_marginal of row 0, slot 1 is 2.0"),
        ],
    )
    def test_bad_rows_are_refused_by_row_and_slot(
        self, columns: dict[str, object], message: str
    ) -> None:
        good: dict[str, object] = {"reward": [[1, 2]], "mu": [[0.5, 0.5]], "pi": [[0.5, 0.5]]}
        with pytest.raises(ValueError, match=message):
            Slates.of(**{**good, **columns})
