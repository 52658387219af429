"""LinUCB against the textbook's formulas, its bits against every change of circumstance, and what it earns on real data."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from river.datasets import ImageSegments

from policies import Features, Interaction, LinUCB, ModelSpec, PolicyError
from policies.checks import CHECKS, it_learns, names_are_only_names
from policies.features import action_index, encode_actions, encode_context
from policies.linear import kernels
from policies.linear.design import BIAS
from policies.pack import pack, unpack
from policies.registry import create, restore
from policies.sampler import Purpose, draw, uniform
from rankd.v1.features_pb2 import Features as Message
from tests.policies.sparse_events import Sparse, action_set, features, interaction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

RANGE = (0.0, 1.0)


def policy(**settings: object) -> LinUCB:
    made = create({"type": "linucb", **settings}, RANGE)
    assert isinstance(made, LinUCB)
    return made


def scores(of: LinUCB, context: Sparse, things: dict[str, Sparse]) -> NDArray[np.float64]:
    return of.pmf(features(context), action_set(things), 0).scores


def random_log(rounds: int, *, ids: str = "abc", dense: bool = True) -> list[tuple[Any, ...]]:
    """(context, things, chosen, reward) with 3 context and 2 action features, or some of them."""
    random = Random(1)

    def some(indices: Sequence[int]) -> Sparse:
        return {i: random.gauss(0, 1) for i in indices if dense or random.random() < 0.6}

    return [
        (some([11, 12, 13]), {a: some([21, 22]) for a in ids}, random.choice(ids), random.random())
        for _ in range(rounds)
    ]


class Textbook:
    """Algorithm 1 of the paper, with dense matrices and numpy's own solver."""

    def __init__(self, alpha: float, ridge: float, order: Sequence[int]) -> None:
        self.alpha = alpha
        self.order = list(order)
        self.a = ridge * np.eye(len(order))
        self.b = np.zeros(len(order))

    def x(self, values: Sparse) -> NDArray[np.float64]:
        return np.array([values.get(i, 0.0) for i in self.order])

    def learn(self, values: Sparse, reward: float) -> None:
        x = self.x(values)
        self.a += np.outer(x, x)
        self.b += reward * x

    def mean(self, values: Sparse) -> float:
        return float(np.linalg.solve(self.a, self.b) @ self.x(values))

    def score(self, values: Sparse) -> float:
        x = self.x(values)
        return self.mean(values) + float(self.alpha * np.sqrt(x @ np.linalg.solve(self.a, x)))


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
@pytest.mark.parametrize(("alpha", "lam"), [(1.0, 1.0), (0.3, 5.0), (0.0, 0.01)])
def test_disjoint_is_the_textbook(alpha: float, lam: float, *, dense: bool) -> None:
    made = policy(alpha=alpha, ridge=lam)
    books = {a: Textbook(alpha, lam, [BIAS, 11, 12, 13, 21, 22]) for a in "abc"}
    for context, things, chosen, reward in random_log(60, dense=dense):
        expected = [books[a].score({BIAS: 1.0, **context, **things[a]}) for a in "abc"]
        assert scores(made, context, things) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        means = [books[a].mean({BIAS: 1.0, **context, **things[a]}) for a in "abc"]
        expected_rewards = made.expected(features(context), action_set(things))
        assert expected_rewards == pytest.approx(means, rel=1e-9, abs=1e-12)
        made.learn([interaction(context, things, chosen, reward)])
        books[chosen].learn({BIAS: 1.0, **context, **things[chosen]}, reward)


@pytest.mark.parametrize("interactions", [True, False])
def test_shared_is_the_textbook(*, interactions: bool) -> None:
    """One regression over bias, context, action features, the action's id and, if asked for, all products."""
    products = {(i, j): 1000 + 10 * i + j for i in (11, 12, 13) for j in (21, 22)}
    ids = {a: action_index(a) for a in "abc"}
    order = [BIAS, 11, 12, 13, 21, 22, *ids.values(), *products.values()]

    def joint(context: Sparse, things: dict[str, Sparse], a: str) -> Sparse:
        both = {(i, j): context[i] * things[a][j] for i in context for j in things[a]}
        crossed = {products[pair]: x for pair, x in both.items()} if interactions else {}
        return {BIAS: 1.0, **context, **things[a], ids[a]: 1.0, **crossed}

    made = policy(model="shared", interactions=interactions, alpha=0.7, ridge=2.0)
    book = Textbook(0.7, 2.0, order)
    for context, things, chosen, reward in random_log(60, dense=False):
        expected = [book.score(joint(context, things, a)) for a in "abc"]
        assert scores(made, context, things) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        made.learn([interaction(context, things, chosen, reward)])
        book.learn(joint(context, things, chosen), reward)


def test_untrained_by_hand() -> None:
    """x = (1, 3, 4) under A = 2 I: mean 0, variance (1 + 9 + 16) / 2 = 13, for every action alike."""
    answer = policy(alpha=0.5, ridge=2.0).pmf(
        features({1: 3.0}), action_set({"a": {2: 4.0}, "b": {2: 4.0}}), 0
    )
    assert answer.scores == pytest.approx([0.5 * np.sqrt(13)] * 2)
    assert answer.pmf.tolist() == [0.5, 0.5]


def test_the_best_score_is_played() -> None:
    made = policy(alpha=0.0)
    made.learn([interaction({}, {"a": {}, "b": {}}, "b", 1.0)])
    answer = made.pmf(features({}), action_set({"a": {}, "b": {}}), 0)
    assert answer.scores == pytest.approx([0.0, 0.5])  # b: A = 1 + 1, theta = 1 / 2
    assert answer.pmf.tolist() == [0.0, 1.0]


def trained(**settings: object) -> LinUCB:
    made = policy(**settings)
    made.learn([interaction(*each) for each in random_log(80, ids="abcdefgh", dense=False)])
    return made


@pytest.mark.parametrize("model", ["disjoint", "shared"])
def test_a_score_alone_is_the_score_among_fifty(model: str) -> None:
    made = trained(model=model)
    random = Random(2)
    context = {i: random.gauss(0, 1) for i in range(8, 30)}
    things: dict[str, Sparse] = {f"{'abcdefghxyz'[k % 11]}{k // 11 or ''}": {} for k in range(50)}
    things = {
        a: {i: random.gauss(0, 1) for i in range(21, 30) if random.random() < 0.5} for a in things
    }
    together = scores(made, context, things)
    for k, a in enumerate(things):
        alone = scores(made, context, {a: things[a]})
        assert alone[0].tobytes() == together[k].tobytes(), a
    backwards = {a: things[a] for a in reversed(things)}
    assert scores(made, context, backwards).tobytes() == together[::-1].tobytes()


@pytest.mark.parametrize("model", ["disjoint", "shared"])
def test_neither_chunks_nor_the_compiler_change_a_bit(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, states = set(), set()
    for chunk, compiled in product((1, 200, 65_536, 10**9), (True, False)):
        monkeypatch.setattr(kernels, "CHUNK", chunk)
        monkeypatch.setattr(kernels, "COMPILED", compiled)
        made = trained(model=model)
        states.add(made.state())
        answers.add(
            scores(
                made, {11: 0.3, 14: 2.0}, {a: {21: 0.1, 25: float(ord(a))} for a in "abcxyz"}
            ).tobytes()
        )
    assert len(states) == len(answers) == 1


def test_columns_that_an_action_does_not_use_change_no_bit() -> None:
    """One policy has learned further features with the value 0, so that its matrices are greater, and gathered from."""
    plain, wide = policy(), policy()
    zeros = dict.fromkeys([1, 12_345, 2**63 + 5], 0.0)
    log = random_log(40)
    for context, things, chosen, reward in log:
        plain.learn([interaction(context, things, chosen, reward)])
        wide.learn([interaction({**context, **zeros}, things, chosen, reward)])
    for context, things, _, _ in log:
        expected = scores(plain, context, things)
        assert scores(wide, context, things).tobytes() == expected.tobytes()
        assert scores(plain, {**context, **zeros}, things).tobytes() == expected.tobytes()


def test_other_actions_change_no_bit() -> None:
    """In a disjoint model, whatever else is learned."""
    one, other = policy(), policy()
    log = random_log(80, ids="ab", dense=False)
    for context, things, chosen, reward in log:
        other.learn(
            [
                interaction(
                    {**context, 99: 1.0} if chosen == "b" else context, things, chosen, reward
                )
            ]
        )
        if chosen == "a":
            one.learn([interaction(context, things, chosen, reward)])
    for context, things, _, _ in log:
        a = {"a": things["a"]}
        assert scores(one, context, a).tobytes() == scores(other, context, a).tobytes()


def test_the_inverse_stays_an_inverse_and_symmetric_to_the_bit() -> None:
    made = policy(ridge=0.5)
    log = random_log(2000, ids="a")
    made.learn([interaction(*each) for each in log])
    _, arrays = unpack(made.state())
    inverse = arrays["inverse"].reshape(6, 6)
    assert inverse.tobytes() == inverse.T.tobytes()
    book = Textbook(1.0, 0.5, arrays["keys"].tolist())
    for context, things, _, reward in log:
        book.learn({BIAS: 1.0, **context, **things["a"]}, reward)
    assert inverse @ book.a == pytest.approx(np.eye(6), abs=1e-9)


def test_beyond_the_cap_features_fold_onto_other_columns() -> None:
    """2 columns: the bias and feature 5. A feature that comes later is 5 again, or -5 if its hash is in the upper half."""
    made = policy(dimensions=2, alpha=0.0)
    made.learn([interaction({5: 2.0}, {"a": {}}, "a", 1.0)])
    assert scores(made, {8: 2.0}, {"a": {}}) == scores(made, {5: 2.0}, {"a": {}})
    assert scores(made, {2**63: -2.0}, {"a": {}}) == scores(made, {5: 2.0}, {"a": {}})
    assert scores(made, {5: 1.0, 8: 1.0}, {"a": {}}) == scores(made, {5: 2.0}, {"a": {}})
    made.learn([interaction({7: 3.0, 9: 1.0}, {"a": {}}, "a", 0.0)])
    _, arrays = unpack(made.state())
    assert arrays["keys"].tolist() == [BIAS, 5]
    book = Textbook(0.0, 1.0, [BIAS, 5])
    book.learn({BIAS: 1.0, 5: 2.0}, 1.0)
    book.learn({BIAS: 1.0, 5: 4.0}, 0.0)
    assert scores(made, {5: 1.0}, {"a": {}}) == pytest.approx([book.score({BIAS: 1.0, 5: 1.0})])


@pytest.mark.parametrize(
    "check",
    # What is folded onto what depends on the hashes of the names, and 6 columns for 12 features learn badly.
    [check for check in CHECKS if check not in (names_are_only_names, it_learns)],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize("model", ["disjoint", "shared", "hybrid"])
def test_the_contract_holds_when_folded(model: str, check: Callable[[ModelSpec], None]) -> None:
    check(ModelSpec({"type": "linucb", "dimensions": 6, "model": model}))


@pytest.mark.parametrize("model", ["disjoint", "shared"])
def test_features_too_long_for_double_precision_are_made_shorter(model: str) -> None:
    """1e6 x 1e6 as products would be, squared, 1e24 times the ridge: A^-1 could not hold both."""
    made = policy(model=model)
    random = Random(3)
    for t in range(300):
        context = {i: random.choice([-1e6, 1e6, 0.1]) for i in (11, 12, 13)}
        things = {a: {i: random.choice([-1e6, 1e6, 0.1]) for i in (21, 22)} for a in "ab"}
        made.learn([interaction(context, things, "ab"[t % 2], float(t % 3 == 0))])
        # An action that was never tried has a bound of |x| <= 1e6.
        assert np.abs(scores(made, context, things)).max() <= 1e6
    for a in "ab":
        assert np.abs(scores(made, context, {a: things[a]})).max() < 10


def test_alpha_can_change_under_way_and_ridge_cannot() -> None:
    state = trained(alpha=1.0).state()
    calm = restore({"type": "linucb", "alpha": 0.0}, RANGE, state)
    assert calm.state() == state
    with pytest.raises(PolicyError, match="'ridge': 2"):
        restore({"type": "linucb", "ridge": 2.0}, RANGE, state)
    with pytest.raises(PolicyError, match="shared"):
        restore({"type": "linucb", "model": "shared"}, RANGE, state)


def test_the_state_is_as_large_as_its_docstring_says() -> None:
    made = policy()
    made.learn(
        [
            interaction(dict.fromkeys(range(1, 20), 1.0), {a: {} for a in "abc"}, a, 1.0)
            for a in "abc"
        ]
    )
    assert len(made.state()) - 3 * (8 * 20**2 + 16 * 20) < 600


def test_plans_that_are_out_of_date_keep_no_regressions_alive() -> None:
    """Layouts are remembered, and with them where regressions stood; those have moved as columns were added."""
    made, context = policy(), np.arange(1, 40, dtype=np.uint64)
    for n in range(1, 40):
        index = context[:n].copy()
        index.setflags(write=False)
        c = Features(index, np.ones(n), np.zeros(n, np.uint8), np.zeros(n, np.bool_))
        for a in "ab":
            made.learn(
                [Interaction(c, action_set({"a": {}, "b": {}}), "ab".index(a), np.ones(2) / 2, 1.0)]
            )
        made.pmf(c, action_set({"a": {}, "b": {}}), 0)
    ridges = made._regression._ridges  # type: ignore[attr-defined]
    kept = [rows.plan for rows in made._regression._design._seen.values()]  # type: ignore[attr-defined]
    assert len(kept) > 39
    alive = {id(g.stack): g.stack for plan in kept for g in plan.groups if g.stack is not None}
    assert sum(len(stack.inverse) > 0 for stack in alive.values()) == 1
    assert len(ridges._stacks) == 1


def test_states_that_fit_no_model_are_refused() -> None:
    header, arrays = unpack(trained().state())

    def refused(changed: dict[str, NDArray[Any]]) -> None:
        with pytest.raises(PolicyError):
            restore({"type": "linucb"}, RANGE, pack(header, changed))

    def at(name: str, place: int, value: float) -> NDArray[Any]:
        array = arrays[name].copy()
        array[place] = value
        return array

    for name, array in arrays.items():
        refused({other: x for other, x in arrays.items() if other != name})
        for wrong in (array[:-1], np.append(array, array[-1:]), array.astype(np.float32)):
            refused({**arrays, name: wrong})
    refused({**arrays, "more": arrays["keys"]})
    refused({**arrays, "sizes": at("sizes", 0, 0)})
    refused({**arrays, "sizes": at("sizes", 0, -6)})
    refused({**arrays, "sizes": at("sizes", 0, 300)})
    refused({**arrays, "keys": at("keys", 1, 2**64 - 1)})
    refused({**arrays, "keys": at("keys", 1, BIAS)})
    refused({**arrays, "theta": at("theta", 3, np.nan)})
    refused({**arrays, "inverse": at("inverse", 0, np.inf)})
    refused({**arrays, "inverse": at("inverse", 1, 0.5)})  # one of two that are equal
    restore({"type": "linucb"}, RANGE, pack(header, arrays))


@pytest.mark.parametrize(
    "ids", [None, "abcdefgh", ["a"], ["a"] * 8, list("hgfedcba"), [1] * 8], ids=str
)
def test_ids_that_fit_no_model_are_refused(ids: object) -> None:
    header, arrays = unpack(trained().state())
    with pytest.raises(PolicyError):
        restore({"type": "linucb"}, RANGE, pack({**header, "ids": ids}, arrays))


def play_segments(spec: ModelSpec, number: int) -> list[float]:
    """ImageSegments as a bandit: 7 classes are the actions, 18 features the context, reward 1 for the right class."""
    rows = list(ImageSegments())  # type: ignore[no-untyped-call]
    Random(number).shuffle(rows)
    labels = sorted({label for _, label in rows})
    model, actions, rewards = spec.build(), encode_actions(labels, []), []
    for t, (x, label) in enumerate(rows):
        context = encode_context([Message(numeric_names=list(x), numeric_values=list(x.values()))])
        pmf = model.pmf(context, actions, 0).pmf
        chosen = draw(pmf, uniform(b"%d" % number, Purpose.DRAW, 0, str(t)))
        rewards.append(float(labels[chosen] == label))
        model.learn([Interaction(context, actions, chosen, pmf, rewards[-1])])
    return rewards


SEGMENTS = ModelSpec({"type": "linucb", "alpha": 0.5}, min_exploration=0.02, reward_range=RANGE)


@pytest.mark.parametrize("number", range(3))
def test_it_is_good_on_real_data(number: int) -> None:
    """Chance and the best fixed action earn 1 / 7."""
    assert np.mean(play_segments(SEGMENTS, number)[-500:]) >= 0.85


def test_raw_features_of_any_scale_do_it_no_lasting_harm() -> None:
    rewards = play_segments(replace(SEGMENTS, standardise=False), 0)
    assert np.mean(rewards[-500:]) >= 0.6
