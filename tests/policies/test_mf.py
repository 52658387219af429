"""Matrix factorisation: a step by hand, tastes that only factors can tell, cold starts, and bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from policies import MF, ActionSet, Features, Interaction, PolicyError
from policies.factors.entities import Entities
from policies.factors.mf import newborn
from policies.pack import pack, unpack
from policies.registry import create, restore
from policies.sampler import draw
from tests.policies.sparse_events import Sparse, action_set, features, interaction

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANGE = (0.0, 1.0)


def policy(**settings: object) -> MF:
    made = create({"type": "mf", "user_namespace": "c", **settings}, RANGE)
    assert isinstance(made, MF)
    return made


def expected(of: MF, user: Sparse, things: dict[str, Sparse]) -> NDArray[np.float64]:
    return of.expected(features(user), action_set(things))


def test_first_step_by_hand() -> None:
    """One user feature and one item: r = mu + b_u + b_a + p q, from two newborn vectors of length 1."""
    made = policy(factors=1, ridge=2.0)
    p, q = newborn(0, 1)[1], newborn(1, 1)[1]
    made.learn([interaction({7: 1.0}, {"a": {}, "b": {}}, "a", 1.0)])
    error = 1.0 - (0.5 + p * q)
    step = error / (1.0 + (1 + q * q) / 2.0 + (1 + p * p) / 2.0)
    bias = step / 2.0
    r = 0.75 + 2 * bias + (p + step * q / 2.0) * (q + step * p / 2.0)  # mu: (0.5 + 1) / 2
    got = expected(made, {7: 1.0}, {"a": {}, "b": {}})
    assert got == pytest.approx([min(r, 1.0), 0.75 + bias])
    _, arrays = unpack(made.state())
    assert arrays["index"][0] == 7
    assert arrays["vectors"][0, 2:] == pytest.approx([1.0, q * q])


def test_sums_have_length_1() -> None:
    """Two features of a user weigh 1 / sqrt(2) each, and one of value 0.5 weighs 0.5."""
    made = policy(factors=1)
    for user in ({1: 1.0}, {2: 1.0}, {1: 1.0}):
        made.learn([interaction(user, {"a": {}}, "a", 1.0)])
    _, arrays = unpack(made.state())
    of = dict(zip(arrays["index"].tolist(), arrays["vectors"].tolist(), strict=True))
    item = next(v for i, v in of.items() if i not in (1, 2))
    mu = 0.5 * (1 / 4) + 3 / 4

    def want(x: Sparse) -> float:
        b, p = (sum(v * of[i][j] for i, v in x.items()) for j in (0, 1))
        return float(min(mu + b + item[0] + p * item[1], 1.0))

    half = 0.5**0.5
    for user, weights in (
        ({1: 1.0, 2: 1.0}, {1: half, 2: half}),
        ({1: 0.5}, {1: 0.5}),
        ({1: 3.0, 2: -4.0}, {1: 0.6, 2: -0.8}),
        ({}, {}),
    ):
        assert expected(made, user, {"a": {}})[0] == pytest.approx(want(weights))


def test_only_the_user_counts() -> None:
    """Other namespaces and named numbers change nothing."""
    made = policy()
    made.learn([interaction({7: 1.0}, {"a": {}, "b": {}}, "a", 1.0)])
    actions = action_set({"a": {}, "b": {}})
    plain = made.expected(features({7: 1.0}), actions)
    user, other = features({7: 1.0}), features({8: 1.0}, "d")
    number = features({9: 5.0}, numeric=True)
    more = Features(
        *(
            np.concatenate([getattr(x, part) for x in (user, number, other)])
            for part in ("index", "value", "namespace", "numeric")
        )
    )
    assert (made.expected(more, actions) == plain).all()


def low_rank_world(config: dict[str, object], rounds: int) -> tuple[float, float, float]:
    """Mean expected rewards of the last quarter: (earned, of the items that are best for all, of the best)."""
    users, items, k = 60, 30, 10
    random = np.random.default_rng(1)
    tastes = random.normal(size=(users, 2)) @ random.normal(size=(2, items))
    mean = 1.0 / (1.0 + np.exp(-(1.5 * tastes + 0.5 * random.normal(size=items))))
    popular = mean.mean(axis=0)
    made = create(config, RANGE)
    none = features({})
    rows = []
    for t in range(rounds):
        user, some = int(random.integers(users)), np.sort(random.choice(items, k, replace=False))
        actions = ActionSet(tuple(f"item-{i:02}" for i in some), np.zeros(k + 1, np.intp), none)
        context = features({1000 + user: 1.0}, "u")
        pmf = made.pmf(context, actions, t).pmf
        chosen = draw(pmf, float(random.random()))
        here = mean[user, some]
        reward = float(random.random() < here[chosen])
        made.learn([Interaction(context, actions, chosen, pmf, reward)])
        rows.append((here[chosen], here[popular[some].argmax()], here.max()))
    earned, for_all, best = np.array(rows[-rounds // 4 :]).mean(axis=0).tolist()
    return earned, for_all, best


def test_it_learns_tastes_that_no_mean_can_tell() -> None:
    """It earns most of the way from the items that are best for all, known from the start, to each user's best."""
    earned, for_all, best = low_rank_world({"type": "mf"}, 6000)
    assert earned > for_all + 0.6 * (best - for_all)
    impersonal, _, _ = low_rank_world({"type": "epsilon_greedy"}, 6000)
    assert earned > impersonal + 0.1


def test_new_items_and_users_are_known_by_their_features() -> None:
    """Those who like jazz like what is tagged jazz; the item and the user asked about have never been seen."""
    made = policy()
    random = np.random.default_rng(2)
    for t in range(800):
        user, item = (int(x) for x in random.integers(2, size=2))
        reward = float(user == item)
        who = {100 + user: 1.0, 1000 + int(random.integers(50)): 1.0}
        name = f"item-{t % 40}-{item}"
        made.learn([interaction(who, {name: {200 + item: 1.0}}, name, reward)])
    things = {"new-0": {200: 1.0}, "new-1": {201: 1.0}}
    for user in (0, 1):
        got = expected(made, {100 + user: 1.0, 5000: 1.0}, things)
        assert got[user] > got[1 - user] + 0.2


def test_nobody_gets_what_is_best_for_all() -> None:
    made = policy()
    for t in range(60):
        chosen = "ab"[t % 2]
        who = {t % 5: 1.0} if t % 3 else {}
        made.learn([interaction(who, {"a": {}, "b": {}}, chosen, float(chosen == "b"))])
    a, b, new = expected(made, {}, {"a": {}, "b": {}, "new": {}})
    assert a < new < b


def test_least_recently_learned_makes_room() -> None:
    table = Entities(2, capacity=3)

    def put(*index: int) -> None:
        table.learn(np.array(index, np.uint64), np.array([[float(i), 1.0] for i in index]))

    put(1, 2)
    put(3)
    put(1)  # now 2 is the oldest
    put(4)
    assert table.arrays()["index"].tolist() == [3, 1, 4]
    got = table.of(np.array([1, 2, 3, 4], np.uint64), np.array([9.0, 9.0]))
    assert got[:, 0].tolist() == [1.0, 9.0, 3.0, 4.0]
    copy = Entities.from_arrays(2, 3, table.arrays())
    copy.learn(np.array([5], np.uint64), np.ones((1, 2)))
    assert copy.arrays()["index"].tolist() == [1, 4, 5]
    put(5, 6, 7, 8, 9)  # more at once than there is room for
    assert table.arrays()["index"].tolist() == [7, 8, 9]
    assert table.arrays()["vectors"][:, 0].tolist() == [7.0, 8.0, 9.0]


def test_memory_is_bounded_and_a_dropped_user_is_new() -> None:
    made = policy(capacity=16)
    for user in range(200):
        made.learn([interaction({user: 1.0}, {"a": {}, "b": {}}, "a", 1.0)])
    assert len(unpack(made.state())[1]["index"]) == 16
    actions: dict[str, Sparse] = {"a": {}, "b": {}}
    assert (expected(made, {3: 1.0}, actions) == expected(made, {7777: 1.0}, actions)).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index", np.array([7, 7], np.uint64)),
        ("index", np.array([7], np.uint64)),
        ("vectors", np.zeros((2, 5))),
        ("vectors", np.full((2, 18), np.nan)),
        ("vectors", np.full((2, 18), -1.0)),
        ("vectors", np.zeros((2, 18), np.float32)),
        ("learned", -1),
        ("learned", 1.0),
        ("mean", 2.0),
        ("factors", 3),
    ],
)
def test_states_that_are_none(name: str, value: object) -> None:
    made = policy()
    made.learn([interaction({7: 1.0}, {"a": {}}, "a", 1.0)])
    header, arrays = unpack(made.state())
    assert name in {**header, **arrays}
    if isinstance(value, np.ndarray):
        arrays[name] = value
    else:
        header[name] = value
    with pytest.raises(PolicyError):
        restore({"type": "mf", "user_namespace": "c"}, RANGE, pack(header, arrays))
