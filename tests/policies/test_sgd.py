"""The hashed model against steps by hand and a plain reference, its bits, and its bounded state."""

from __future__ import annotations

from math import exp, sqrt
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from policies import SGD, PolicyError
from policies.crossing import product_index
from policies.features import action_index
from policies.hashed.rows import rows_of
from policies.pack import pack, unpack
from policies.registry import create, restore, same_shape
from policies.sums import sums
from tests.policies.sparse_events import Sparse, action_set, features, interaction

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANGE = (-1.0, 1.0)


def policy(**settings: object) -> SGD:
    made = create({"type": "sgd", **settings}, RANGE)
    assert isinstance(made, SGD)
    return made


def expected(of: SGD, context: Sparse, things: dict[str, Sparse]) -> NDArray[np.float64]:
    return of.expected(features(context), action_set(things))


def some(random: Random, indices: range, count: int) -> Sparse:
    return {i: random.gauss(0, 1) for i in random.sample(indices, count)}


class Reference:
    """The module's docstring in plain Python, one dict for each of its letters."""

    def __init__(self, bits: int, crossing: str, rate: float, loss: str) -> None:
        self.size, self.crossing, self.rate, self.loss = 2**bits, crossing, rate, loss
        self.w: Sparse = {}
        self.s: Sparse = {}
        self.g: Sparse = {}
        self.t, self.n = 0, 0.0

    def row(self, context: Sparse, action: str, own: Sparse) -> Sparse:
        def product(i: int, j: int) -> int:
            return int(product_index(np.array([i], np.uint64), np.array([j], np.uint64))[0, 0])

        me = action_index(action)
        pairs = [(0, 1.0), *context.items(), (me, 1.0), *own.items()]
        if self.crossing in ("action_id", "both"):
            pairs += [(product(i, me), x) for i, x in context.items()]
        if self.crossing in ("action_features", "both"):
            pairs += [(product(i, j), x * y) for j, y in own.items() for i, x in context.items()]
        row: Sparse = {}
        for index, value in pairs:
            row[index % self.size] = row.get(index % self.size, 0.0) + value
        return row

    def predict(self, row: Sparse) -> float:
        scaled = {i: x / max(self.s.get(i, 0.0), abs(x)) for i, x in row.items() if x}
        z = sum(self.w.get(i, 0.0) * x for i, x in scaled.items())
        return min(max(z, 0.0), 1.0) if self.loss == "squared" else 1 / (1 + exp(-z))

    def learn(self, row: Sparse, reward: float) -> None:
        for i, x in row.items():
            self.s[i] = max(self.s.get(i, 0.0), abs(x))
        error = self.predict(row) - reward
        scaled = {i: x / self.s[i] for i, x in row.items()}
        self.t += 1
        self.n += sum(x * x for x in scaled.values())
        for i, x in scaled.items():
            self.g[i] = self.g.get(i, 1.0) + (error * x) ** 2
        rates = {i: self.rate * sqrt(self.t / self.n / self.g[i]) for i in scaled}
        curvature = 1.0 if self.loss == "squared" else 0.25
        step = error / (1 + curvature * sum(x * x * rates[i] for i, x in scaled.items()))
        for i, x in scaled.items():
            self.w[i] = self.w.get(i, 0.0) - step * rates[i] * x


def test_first_step_by_hand() -> None:
    """Two features (the bias and the id), reward 1 of [-1, 1], so that the error is -1, G = 2 and t / N = 1 / 2."""
    made = policy(learning_rate=0.5)
    made.learn([interaction({}, {"a": {}, "b": {}}, "a", 1.0)])
    rate = 0.5 * sqrt(1 / 2) / sqrt(2.0)
    weight = rate / (1 + 2 * rate)
    got = expected(made, {}, {"a": {}, "b": {}})
    assert got == pytest.approx([2 * (2 * weight) - 1, 2 * weight - 1], rel=1e-6)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("crossing", ["action_id", "action_features", "both", "none"])
@pytest.mark.parametrize("bits", [8, 20], ids=["collisions", "none"])
def test_it_is_the_reference(loss: str, crossing: str, bits: int) -> None:
    made = policy(loss=loss, interactions=crossing, bits=bits, learning_rate=1.5)
    reference = Reference(bits, crossing, 1.5, loss)
    random = Random(1)
    for _ in range(40):
        context = some(random, range(1000, 1040), 6)
        things = {a: some(random, range(2000, 2060), 5) for a in "abc"}
        chosen, reward = random.choice("abc"), random.choice([-1.0, 0.5, 1.0])
        rows = {a: reference.row(context, a, things[a]) for a in things}
        want = [2 * reference.predict(row) - 1 for row in rows.values()]
        if bits == 20:  # with collisions the policy predicts a pair apart, and learns it as one
            assert expected(made, context, things) == pytest.approx(want, abs=1e-5)
        made.learn([interaction(context, things, chosen, reward)])
        reference.learn(rows[chosen], (reward + 1) / 2)
    header, arrays = unpack(made.state())
    learned = dict(zip(arrays["slot"].tolist(), arrays["weight"].tolist(), strict=True))
    want = [reference.w[i] for i in learned]
    assert learned.keys() == reference.w.keys()
    assert list(learned.values()) == pytest.approx(want, abs=1e-4)
    assert header["norm"] == pytest.approx(reference.n, rel=1e-6)


def test_units_change_nothing() -> None:
    """Cents instead of euros: by a power of two even the bits are the same."""
    random = Random(2)
    one, other = policy(), policy()
    unit = 1024.0
    for _ in range(60):
        context = some(random, range(50, 60), 4)
        things = {a: some(random, range(80, 90), 3) for a in "ab"}
        big = {i: x * unit for i, x in context.items()}
        assert (expected(one, context, things) == expected(other, big, things)).all()
        chosen, reward = random.choice("ab"), random.uniform(-1, 1)
        one.learn([interaction(context, things, chosen, reward)])
        other.learn([interaction(big, things, chosen, reward)])


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_no_step_goes_past_the_reward(loss: str) -> None:
    random = Random(3)
    made = policy(loss=loss, learning_rate=100.0, bits=20)
    for _ in range(100):
        context = some(random, range(50, 350), 200)
        reward = random.uniform(-1, 1)
        before = expected(made, context, {"a": {}})[0]
        made.learn([interaction(context, {"a": {}}, "a", reward)])
        after = expected(made, context, {"a": {}})[0]
        # A feature that has become greater is predicted as if it had been that great already.
        assert min(before, reward) - 1e-4 <= after <= max(before, reward) + 1e-4


def test_it_learns_what_features_earn() -> None:
    """Rewards are a linear function of features of actions never seen twice: only what they share can tell."""
    random = Random(4)
    made = policy(explorer="epsilon")
    effect = {i: random.uniform(-0.3, 0.3) for i in range(500, 530)}

    def thing() -> Sparse:
        return dict.fromkeys(random.sample(sorted(effect), 3), 1.0)

    for t in range(3000):
        own = thing()
        reward = sum(effect[i] for i in own) + random.gauss(0, 0.05)
        made.learn([interaction({}, {f"new-{t}": own}, f"new-{t}", reward)])
    things = {f"test-{k}": thing() for k in range(50)}
    want = [sum(effect[i] for i in own) for own in things.values()]
    assert np.abs(expected(made, {}, things) - want).mean() < 0.03


def test_scores_do_not_depend_on_other_actions() -> None:
    random = Random(5)
    made = policy(explorer="ucb", interactions="both")
    context = some(random, range(1000, 1040), 9)
    things = {f"{k}": some(random, range(2000, 2060), 3 + k % 17) for k in range(40)}
    for a in things:
        made.learn([interaction(context, things, a, random.uniform(-1, 1))])
    together = made.pmf(features(context), action_set(things), 0).scores
    for place, (a, own) in enumerate(things.items()):
        alone = made.pmf(features(context), action_set({a: own}), 0).scores
        assert alone[0] == together[place]


def test_sums_run_from_left_to_right() -> None:
    random = Random(6)
    for rows in (1, 2, 20):
        row = [random.randrange(rows) for _ in range(3000)]
        terms = [random.gauss(0, 1) * 10.0 ** random.randrange(-8, 8) for _ in row]
        want = [0.0] * rows
        for r, x in zip(row, terms, strict=True):
            want[r] += x
        assert sums(np.array(row), np.array(terms), rows).tolist() == want
    assert sums(np.empty(0, np.intp), np.empty(0), 2).tolist() == [0.0, 0.0]


def test_ucb_by_hand() -> None:
    """The id of a, learned once, has S = 1: width sqrt(1 / 2). That of b has none: 1. The bias is common to both."""
    made = policy(explorer="ucb", alpha=0.3)
    made.learn([interaction({}, {"a": {}, "b": {}}, "a", 0.2)])
    scored = made.pmf(features({}), action_set({"a": {}, "b": {}}), 0)
    bonus = scored.scores - expected(made, {}, {"a": {}, "b": {}})
    assert bonus == pytest.approx([2 * 0.3 * sqrt(1 / 2), 2 * 0.3], rel=1e-6)


@pytest.mark.parametrize("explorer", ["squarecb", "softmax", "epsilon"])
def test_explorers_see_shares_of_the_range(explorer: str) -> None:
    """The same rewards in other units give the same pmf."""
    small, big = (
        create({"type": "sgd", "explorer": explorer}, (0.0, high)) for high in (1.0, 1024.0)
    )
    for reward, chosen in ((1.0, "a"), (0.0, "b"), (0.5, "a")):
        small.learn([interaction({}, {"a": {}, "b": {}}, chosen, reward)])
        big.learn([interaction({}, {"a": {}, "b": {}}, chosen, reward * 1024.0)])
    asked = features({}), action_set({"a": {}, "b": {}}), 0
    assert small.pmf(*asked).pmf.tobytes() == big.pmf(*asked).pmf.tobytes()


def test_rewards_beyond_the_range_count_as_its_ends() -> None:
    one, other = policy(), policy()
    one.learn([interaction({}, {"a": {}}, "a", 5.0)])
    other.learn([interaction({}, {"a": {}}, "a", 1.0)])
    assert one.state() == other.state()
    with pytest.raises(PolicyError, match="must be finite"):
        one.learn([interaction({}, {"a": {}}, "a", float("nan"))])
    assert one.state() == other.state()


def test_state_is_as_large_as_what_was_learned() -> None:
    made = policy(bits=22)
    empty = len(made.state())
    assert empty < 1000
    made.learn([interaction({7: 1.0, 8: 0.0}, {"a": {}}, "a", 1.0)])
    # bias, 7, id, 7 x id; whatever was 0 has taught nothing.
    assert len(made.state()) - empty == pytest.approx(4 * 24, abs=20)


def test_what_shapes_the_state() -> None:
    before = {"type": "sgd"}
    assert same_shape(before, {"type": "sgd", "explorer": "ucb", "learning_rate": 3.0, "gamma": 1})
    made = policy()
    made.learn([interaction({}, {"a": {}}, "a", 1.0)])
    for change in ({"bits": 19}, {"loss": "logistic"}, {"interactions": "none"}):
        assert not same_shape(before, {**before, **change})
        with pytest.raises(PolicyError, match="expected"):
            restore({**before, **change}, RANGE, made.state())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slot", np.array([3, 2], np.int64)),
        ("slot", np.array([-1, 2], np.int64)),
        ("slot", np.array([1, 2**18], np.int64)),
        ("slot", np.array([1, 2, 3], np.int64)),
        ("weight", np.array([0.0, np.nan], np.float32)),
        ("weight", np.array([0.0, 0.0])),
        ("seen", np.array([1.0, -1.0], np.float32)),
        ("learned", -1),
        ("learned", True),
        ("norm", 0.5),
        ("norm", "1"),
    ],
)
def test_states_that_are_none(name: str, value: object) -> None:
    made = policy()
    made.learn([interaction({}, {"a": {}}, "a", 1.0)])
    header, arrays = unpack(made.state())
    assert len(arrays["slot"]) == 2
    assert name in {**arrays, **header}
    if isinstance(value, np.ndarray):
        arrays[name] = value
    else:
        header[name] = value
    with pytest.raises(PolicyError):
        restore({"type": "sgd"}, RANGE, pack(header, arrays))


def test_rows_put_what_is_common_apart() -> None:
    context = features({5: 2.0})
    rows = rows_of(context, action_set({"a": {7: 3.0}, "b": {}}), "both", 20)
    assert rows.common_value.tolist() == [1.0, 2.0]
    assert rows.row.tolist() == [0, 1, 0, 0, 1, 0]
    assert rows.value.tolist() == [1.0, 1.0, 3.0, 2.0, 2.0, 6.0]
